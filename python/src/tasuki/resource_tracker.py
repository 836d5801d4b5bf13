"""The standard library's resource_tracker: the tracker of named resources. This name is an alias of `multiprocessing.resource_tracker`."""

import sys

import multiprocessing.resource_tracker as _standard
from multiprocessing.resource_tracker import *  # what readers and type checkers see
from multiprocessing.resource_tracker import __all__ as __all__

sys.modules[__name__] = _standard
