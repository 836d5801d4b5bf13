"""The standard library's connection: pipes, listeners and clients. This name is an alias of `multiprocessing.connection`."""

import sys

import multiprocessing.connection as _standard
from multiprocessing.connection import *  # what readers and type checkers see
from multiprocessing.connection import __all__ as __all__

sys.modules[__name__] = _standard
