"""The standard library's spawn: the child's side of starting a fresh interpreter. This name is an alias of `multiprocessing.spawn`."""

import sys

import multiprocessing.spawn as _standard
from multiprocessing.spawn import *  # what readers and type checkers see
from multiprocessing.spawn import __all__ as __all__

sys.modules[__name__] = _standard
