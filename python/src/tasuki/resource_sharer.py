"""The standard library's resource_sharer: descriptors lent to other processes. This name is an alias of `multiprocessing.resource_sharer`."""

import sys

import multiprocessing.resource_sharer as _standard
from multiprocessing.resource_sharer import *  # what readers and type checkers see
from multiprocessing.resource_sharer import __all__ as __all__

sys.modules[__name__] = _standard
