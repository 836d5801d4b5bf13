"""The standard library's reduction: pickling with reducers. This name is an alias of `multiprocessing.reduction`."""

import sys

import multiprocessing.reduction as _standard
from multiprocessing.reduction import *  # what readers and type checkers see
from multiprocessing.reduction import __all__ as __all__

sys.modules[__name__] = _standard
