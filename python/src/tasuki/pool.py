"""The standard library's pool: pools of worker processes. This name is an alias of `multiprocessing.pool`."""

import sys

import multiprocessing.pool as _standard
from multiprocessing.pool import *  # what readers and type checkers see
from multiprocessing.pool import __all__ as __all__

sys.modules[__name__] = _standard
