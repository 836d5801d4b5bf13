"""The standard library's popen_fork: starting a process by fork. This name is an alias of `multiprocessing.popen_fork`."""

import sys

import multiprocessing.popen_fork as _standard
from multiprocessing.popen_fork import *  # what readers and type checkers see
from multiprocessing.popen_fork import __all__ as __all__

sys.modules[__name__] = _standard
