"""The standard library's managers: managers and proxies. This name is an alias of `multiprocessing.managers`."""

import sys

import multiprocessing.managers as _standard
from multiprocessing.managers import *  # what readers and type checkers see
from multiprocessing.managers import __all__ as __all__

sys.modules[__name__] = _standard
