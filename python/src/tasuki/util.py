"""The standard library's util: finalizers, logging and the rest. This name is an alias of `multiprocessing.util`."""

import sys

import multiprocessing.util as _standard
from multiprocessing.util import *  # what readers and type checkers see
from multiprocessing.util import __all__ as __all__

sys.modules[__name__] = _standard
