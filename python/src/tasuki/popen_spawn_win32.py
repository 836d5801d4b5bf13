"""The standard library's popen_spawn_win32: starting a fresh interpreter on Windows. This name is an alias of `multiprocessing.popen_spawn_win32`."""

import sys

import multiprocessing.popen_spawn_win32 as _standard
from multiprocessing.popen_spawn_win32 import *  # what readers and type checkers see
from multiprocessing.popen_spawn_win32 import __all__ as __all__  # type: ignore[attr-defined]

sys.modules[__name__] = _standard
