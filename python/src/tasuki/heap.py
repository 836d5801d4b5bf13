"""The standard library's heap: the arenas of the standard shared ctypes objects. This name is an alias of `multiprocessing.heap`."""

import sys

import multiprocessing.heap as _standard
from multiprocessing.heap import *  # what readers and type checkers see
from multiprocessing.heap import __all__ as __all__

sys.modules[__name__] = _standard
