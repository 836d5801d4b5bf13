"""The standard library's shared_memory: shared memory with a name. This name is an alias of `multiprocessing.shared_memory`."""

import sys

import multiprocessing.shared_memory as _standard
from multiprocessing.shared_memory import *  # what readers and type checkers see
from multiprocessing.shared_memory import __all__ as __all__

sys.modules[__name__] = _standard
