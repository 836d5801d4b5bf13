"""The standard library's popen_spawn_posix: starting a fresh interpreter. This name is an alias of `multiprocessing.popen_spawn_posix`."""

import sys

import multiprocessing.popen_spawn_posix as _standard
from multiprocessing.popen_spawn_posix import *  # what readers and type checkers see
from multiprocessing.popen_spawn_posix import __all__ as __all__

sys.modules[__name__] = _standard
