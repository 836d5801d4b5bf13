"""The standard library's pipes between threads. This name is an alias of `multiprocessing.dummy.connection`."""

import sys

import multiprocessing.dummy.connection as _standard
from multiprocessing.dummy.connection import *  # what readers and type checkers see
from multiprocessing.dummy.connection import __all__ as __all__

sys.modules[__name__] = _standard
