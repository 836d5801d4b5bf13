"""The standard library's popen_forkserver: starting a process by the fork server. This name is an alias of `multiprocessing.popen_forkserver`."""

import sys

import multiprocessing.popen_forkserver as _standard
from multiprocessing.popen_forkserver import *  # what readers and type checkers see
from multiprocessing.popen_forkserver import __all__ as __all__

sys.modules[__name__] = _standard
