"""The standard library's forkserver: the server that forks. This name is an alias of `multiprocessing.forkserver`."""

import sys

import multiprocessing.forkserver as _standard
from multiprocessing.forkserver import *  # what readers and type checkers see
from multiprocessing.forkserver import __all__ as __all__

sys.modules[__name__] = _standard
