"""Processes that talk: a drop-in for `multiprocessing` on one engine that Python and Rust share.

`import tasuki as multiprocessing` has every name of the standard package; `tasuki.ENGINE` tells which of them run on
the engine and which are still the standard library's own objects. `tasuki.install()` or `python -m tasuki script.py`
make an unmodified program use it.
"""

from __future__ import annotations

import sys as _sys

from tasuki import context

TYPE_CHECKING = False  # importing typing would cost more than all the rest; type checkers know this name
if TYPE_CHECKING:
    from typing import Any as _Any

    from tasuki import process, reduction
    from tasuki._private.engine import ENGINE
    from tasuki._private.installing import install
    from tasuki._private.owner_died import OwnerDied, OwnerDiedWarning
    from tasuki.arrays import shared_array, shared_array_from
    from tasuki.command import Command, inherited, inherited_names
    from tasuki.queues import ShutDown
    from tasuki.timer import Timer
else:  # for programs that evaluate annotations
    _Any = object

__version__ = "0.1.0"

_default = context._default_context

Array = _default.Array
AuthenticationError = _default.AuthenticationError
Barrier = _default.Barrier
BoundedSemaphore = _default.BoundedSemaphore
BufferTooShort = _default.BufferTooShort
Condition = _default.Condition
Event = _default.Event
JoinableQueue = _default.JoinableQueue
Lock = _default.Lock
Manager = _default.Manager
Pipe = _default.Pipe
Pool = _default.Pool
Process = _default.Process
ProcessError = _default.ProcessError
Queue = _default.Queue
RLock = _default.RLock
RawArray = _default.RawArray
RawValue = _default.RawValue
RwLock = _default.RwLock
Semaphore = _default.Semaphore
SimpleQueue = _default.SimpleQueue
TimeoutError = _default.TimeoutError
Value = _default.Value
active_children = _default.active_children
allow_connection_pickling = _default.allow_connection_pickling
cpu_count = _default.cpu_count
current_process = _default.current_process
freeze_support = _default.freeze_support
get_all_start_methods = _default.get_all_start_methods
get_context = _default.get_context
get_logger = _default.get_logger
get_start_method = _default.get_start_method
log_to_stderr = _default.log_to_stderr
parent_process = _default.parent_process
reducer = _default.reducer
set_executable = _default.set_executable
set_forkserver_preload = _default.set_forkserver_preload
set_start_method = _default.set_start_method

SUBDEBUG = 5
SUBWARNING = 25

# Names that a program may never ask for, in modules that are loaded when it does.
_LAZY = dict.fromkeys(("Command", "inherited", "inherited_names"), "tasuki.command")
_LAZY |= dict.fromkeys(("OwnerDied", "OwnerDiedWarning"), "tasuki._private.owner_died")
#: The names that run on the engine, each with the class that serves it.
_LAZY["ENGINE"] = "tasuki._private.engine"
_LAZY["ShutDown"] = "tasuki.queues"
_LAZY["Timer"] = "tasuki.timer"
_LAZY["install"] = "tasuki._private.installing"
# Not in __all__: `from tasuki import *` must not need numpy.
_LAZY |= dict.fromkeys(("shared_array", "shared_array_from"), "tasuki.arrays")

#: Every public name of the standard package, of this Python, and ours; what a later one adds is inherited as well.
_STANDARD_NAMES = tuple(name for name in dir(_default) if not name.startswith("_"))
for _name in _STANDARD_NAMES:
    if _name not in _LAZY:
        globals().setdefault(_name, getattr(_default, _name))

__all__ = [
    "ENGINE",
    "Command",
    "OwnerDied",
    "OwnerDiedWarning",
    "ShutDown",
    "inherited",
    "inherited_names",
    "install",
    *_STANDARD_NAMES,
]

_SUBMODULES = frozenset(
    "arrays command connection context dummy forkserver heap managers pool process queues reduction resource_sharer "
    "resource_tracker shared_memory sharedctypes spawn synchronize timer util".split()
)


def __getattr__(name: str) -> _Any:
    if name in _LAZY:
        __import__(_LAZY[name])
        value = globals()[name] = getattr(_sys.modules[_LAZY[name]], name)
        return value
    if name in _SUBMODULES:
        __import__(f"{__name__}.{name}")
        return _sys.modules[f"{__name__}.{name}"]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


del TYPE_CHECKING  # not a name of this package
