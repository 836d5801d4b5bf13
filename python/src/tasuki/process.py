"""The standard library's process: the process object and who is running. This name is an alias of `multiprocessing.process`."""

import sys

import multiprocessing.process as _standard
from multiprocessing.process import *  # what readers and type checkers see
from multiprocessing.process import __all__ as __all__

sys.modules[__name__] = _standard
