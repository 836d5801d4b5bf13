"""The standard library's synchronize: locks, semaphores, conditions. This name is an alias of `multiprocessing.synchronize`."""

import sys

import multiprocessing.synchronize as _standard
from multiprocessing.synchronize import *  # what readers and type checkers see
from multiprocessing.synchronize import __all__ as __all__

sys.modules[__name__] = _standard
