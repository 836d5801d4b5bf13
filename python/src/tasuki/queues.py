"""The standard library's queues: queues. This name is an alias of `multiprocessing.queues`."""

import sys

import multiprocessing.queues as _standard
from multiprocessing.queues import *  # what readers and type checkers see
from multiprocessing.queues import __all__ as __all__

sys.modules[__name__] = _standard
