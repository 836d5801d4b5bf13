"""The standard library's threads in a process's clothes: an alias of `multiprocessing.dummy`."""

import sys

import multiprocessing.dummy as _standard
import multiprocessing.dummy.connection as _connection
from multiprocessing.dummy import *  # what readers and type checkers see
from multiprocessing.dummy import __all__ as __all__

sys.modules[__name__] = _standard
# Or `import tasuki.dummy.connection` would load a second copy of the standard file.
sys.modules[__name__ + ".connection"] = _connection
