"""The standard library's sharedctypes: ctypes objects in shared memory. This name is an alias of `multiprocessing.sharedctypes`."""

import sys

import multiprocessing.sharedctypes as _standard
from multiprocessing.sharedctypes import *  # what readers and type checkers see
from multiprocessing.sharedctypes import __all__ as __all__

sys.modules[__name__] = _standard
