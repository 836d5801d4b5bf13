"""Contexts: the standard ones with the engine's objects in the places where we have them.

Each class derives from the standard library's concrete class, so `isinstance` stays true for every library that checks,
and whatever a later Python adds is inherited. `_Engine` is the one place that decides which names run on the engine:
a name does exactly when `_Engine` defines it. Nothing here starts interpreters or touches `_bootstrap`.

Each program loads this, and each child that is a fresh interpreter. So what not all of them use is loaded when it is asked
for.
"""

from __future__ import annotations

import multiprocessing.context as _standard
import os
import sys
from multiprocessing.context import (
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    get_spawning_popen,
    set_spawning_popen,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ctypes
    from typing import Any, Literal

    import tasuki.connection
    import tasuki.queues
    import tasuki.sharedctypes
    import tasuki.synchronize
    from tasuki._private.owner_died import OwnerDied, OwnerDiedWarning
    from tasuki.timer import ForkServerTimer, ForkTimer, SpawnTimer, Timer

    #: What the next one to take something gets after its owner died.
    OnOwnerDied = Literal["raise", "warn", "ignore"]
    _RawValue = ctypes._SimpleCData[Any]
    _RawArray = ctypes.Array[Any]
    #: How objects are written.
    Codec = Literal["pickle", "msgpack"]
else:  # for programs that evaluate annotations
    import tasuki

    Any = _RawValue = _RawArray = object
    OnOwnerDied = Codec = str

__all__ = (
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "ForkServerTimer",
    "ForkTimer",
    "OwnerDied",
    "OwnerDiedWarning",
    "Process",
    "ProcessError",
    "SpawnContext",
    "SpawnProcess",
    "SpawnTimer",
    "TimeoutError",
    "Timer",
    "get_spawning_popen",
    "set_spawning_popen",
)

# The standard library's own default and contexts, as they were before anybody called install().
_standard_default: Any = _standard._default_context
_standard_contexts: dict[str, BaseContext] = dict(_standard._concrete_contexts)  # type: ignore[attr-defined]


#: Has install() been called in this process, or in the parent that started it? Modules that are loaded later ask.
_is_installed = False

# The module, once a pipe was made.
_connection: Any = None

# In modules that are loaded when a program asks for one of these.
_LAZY = dict.fromkeys(("OwnerDied", "OwnerDiedWarning"), "tasuki._private.owner_died")
_LAZY |= dict.fromkeys(("ForkServerTimer", "ForkTimer", "SpawnTimer", "Timer"), "tasuki.timer")


class _TimerClass:
    """The attribute of a context that is its timer's class."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, context: Any, owner: Any) -> Any:
        from tasuki import timer

        return getattr(timer, self._name)


class _Engine(BaseContext):
    """What a tasuki context does in its own way: the names on the engine, and finding the other contexts.

    A method's return annotation is the class that `tasuki.ENGINE` names; a class stands for itself.
    """

    #: A process that calls a function after a while; each context has the one for its processes.
    Timer = _TimerClass("BaseTimer")

    def Lock(self, *, on_owner_died: OnOwnerDied = "raise") -> tasuki.synchronize.Lock:  # type: ignore[override]
        """Returns a lock that any process or thread may release."""
        from tasuki.synchronize import Lock

        return Lock(on_owner_died=on_owner_died)

    def RLock(self, *, on_owner_died: OnOwnerDied = "raise") -> tasuki.synchronize.RLock:  # type: ignore[override]
        """Returns a lock that its owner may take again."""
        from tasuki.synchronize import RLock

        return RLock(on_owner_died=on_owner_died)

    def RwLock(self, *, on_owner_died: OnOwnerDied = "raise") -> tasuki.synchronize.RwLock:
        """Returns a lock that many readers or one writer have."""
        from tasuki.synchronize import RwLock

        return RwLock(on_owner_died=on_owner_died)

    def Semaphore(  # type: ignore[override]
        self, value: int = 1, *, on_owner_died: OnOwnerDied = "warn"
    ) -> tasuki.synchronize.Semaphore:
        """Returns a semaphore with so many permits."""
        from tasuki.synchronize import Semaphore

        return Semaphore(value, on_owner_died=on_owner_died)

    def BoundedSemaphore(  # type: ignore[override]
        self, value: int = 1, *, on_owner_died: OnOwnerDied = "warn"
    ) -> tasuki.synchronize.BoundedSemaphore:
        """Returns a semaphore that never has more permits than at the beginning."""
        from tasuki.synchronize import BoundedSemaphore

        return BoundedSemaphore(value, on_owner_died=on_owner_died)

    def Event(self) -> tasuki.synchronize.Event:  # type: ignore[override]
        """Returns an event, which is not set."""
        from tasuki.synchronize import Event

        return Event()

    def Condition(self, lock: Any = None) -> tasuki.synchronize.Condition:
        """Returns a condition with a lock: a recursive one of its own, or the one given."""
        from tasuki.synchronize import Condition

        return Condition(lock)

    def Barrier(self, parties: int, action: Any = None, timeout: float | None = None) -> tasuki.synchronize.Barrier:
        """Returns a barrier, which breaks when a party that is needed dies."""
        from tasuki.synchronize import Barrier

        return Barrier(parties, action, timeout)

    def Queue(self, maxsize: int = 0, *, codec: str = "pickle") -> tasuki.queues.Queue[Any]:  # type: ignore[override]
        """Returns a queue; `codec="msgpack"` makes one whose structured messages Rust reads too."""
        from tasuki.queues import Queue

        return Queue(maxsize, codec=codec)

    def JoinableQueue(  # type: ignore[override]
        self, maxsize: int = 0, *, codec: str = "pickle", on_owner_died: OnOwnerDied = "raise"
    ) -> tasuki.queues.JoinableQueue[Any]:
        """Returns a queue that knows when all that was put into it is done."""
        from tasuki.queues import JoinableQueue

        return JoinableQueue(maxsize, codec=codec, on_owner_died=on_owner_died)

    def SimpleQueue(self, *, codec: str = "pickle") -> tasuki.queues.SimpleQueue[Any]:  # type: ignore[override]
        """Returns a queue that is full when a megabyte waits."""
        from tasuki.queues import SimpleQueue

        return SimpleQueue(codec=codec)

    def Pipe(  # type: ignore[override]
        self, duplex: bool = True, *, codec: Codec = "pickle"
    ) -> tuple[tasuki.connection.Connection, tasuki.connection.Connection]:
        """Returns the two ends of a pipe; with `duplex=False` the first one receives what the second one sends."""
        global _connection
        if _connection is None:
            # Looked for once: it costs as much as half of the rest.
            import tasuki.connection as _connection

        ends: tuple[tasuki.connection.Connection, tasuki.connection.Connection] = _connection.Pipe(duplex, codec=codec)
        return ends

    def Value(  # type: ignore[override]
        self, typecode_or_type: Any, *args: Any, lock: Any = True
    ) -> tasuki.sharedctypes.Synchronized:
        """Returns a ctypes object in shared memory, in a wrapper with its lock unless `lock` is False."""
        from tasuki.sharedctypes import Value

        return Value(typecode_or_type, *args, lock=lock)  # type: ignore[no-any-return]

    def Array(  # type: ignore[override]
        self, typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True
    ) -> tasuki.sharedctypes.SynchronizedArray:
        """Returns a ctypes array in shared memory, in a wrapper with its lock unless `lock` is False."""
        from tasuki.sharedctypes import Array

        return Array(typecode_or_type, size_or_initializer, lock=lock)  # type: ignore[no-any-return]

    def RawValue(self, typecode_or_type: Any, *args: Any) -> _RawValue:  # type: ignore[override]
        """Returns a ctypes object in shared memory, without a lock."""
        from tasuki.sharedctypes import RawValue

        return RawValue(typecode_or_type, *args)  # type: ignore[no-any-return]

    def RawArray(self, typecode_or_type: Any, size_or_initializer: Any) -> _RawArray:  # type: ignore[override]
        """Returns a ctypes array in shared memory, without a lock."""
        from tasuki.sharedctypes import RawArray

        return RawArray(typecode_or_type, size_or_initializer)  # type: ignore[no-any-return]

    def freeze_support(self) -> None:
        """In a child of a frozen program: becomes that child, and exits. Else it does nothing.

        What freezes programs puts its own function into the standard library, perhaps after us: it is looked up now.
        """
        if getattr(sys, "frozen", False):
            from multiprocessing import spawn

            spawn.freeze_support()

    def get_context(self, method: str | None = None) -> Any:
        """Returns the context of a start method; without one, this context (the module: the default one)."""
        if method is None:
            return super().get_context()
        ours = _contexts.get(method)
        # A method that another package registered with the standard library ('loky') is served by its own context.
        return ours if ours is not None else _standard_default.get_context(method)


def _close_inherited() -> None:
    """Every object among the arguments of this process has been opened, if there were any of ours."""
    handles = sys.modules.get("tasuki._private.handles")
    if handles is not None:
        handles.close_inherited()


def _know_parent() -> None:
    """In a child of the process that started it: learn of that one's end from the system.

    The pipe that tells of it otherwise has an end in every sibling that was forked later.
    """
    parent: Any = BaseContext.parent_process()
    if parent is None or not isinstance(parent._sentinel, int):
        return
    try:
        pidfd = os.pidfd_open(parent.pid)
    except OSError:
        return
    try:
        # The number may be another's by now, unless that is the parent still.
        if os.getppid() == parent.pid:
            os.dup2(pidfd, parent._sentinel, inheritable=False)
    finally:
        os.close(pidfd)


#: The module that starts processes, once one was started: each `import` statement costs a fork as much as ten lines.
_starting_module: Any = None


def _starting() -> Any:
    global _starting_module
    if _starting_module is None:
        from tasuki._private import starting

        _starting_module = starting
    return _starting_module


class _Joined:
    """A process of which the next send to it knows that it has ended, if it has when a join returns."""

    def join(self, timeout: float | None = None) -> None:
        super().join(timeout)  # type: ignore[misc]
        native = sys.modules.get("tasuki._tasuki")
        if native is not None:
            native.note_joined()


class Process(_Joined, _standard.Process):
    """An activity run in a separate process, started by the default start method."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork() -> Any:
        return _default_context.get_context().Process._after_fork()


class ForkProcess(_Joined, _standard.ForkProcess):
    """A process started by os.fork()."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _starting().fork(process_obj)

    @staticmethod
    def _after_fork() -> Any:
        _know_parent()
        return _standard.ForkProcess._after_fork()  # type: ignore[attr-defined]


class SpawnProcess(_Joined, _standard.SpawnProcess):
    """A process started as a fresh interpreter."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _starting().spawn(process_obj)

    @staticmethod
    def _after_fork() -> Any:
        _know_parent()
        _close_inherited()
        return _standard.SpawnProcess._after_fork()  # type: ignore[attr-defined]


class ForkServerProcess(_Joined, _standard.ForkServerProcess):
    """A process forked by a server that has no threads and has loaded tasuki."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _starting().forkserver(process_obj)

    @staticmethod
    def _after_fork() -> Any:
        _close_inherited()
        return _standard.ForkServerProcess._after_fork()  # type: ignore[attr-defined]


class ForkContext(_Engine, _standard.ForkContext):
    """The context of the start method 'fork'."""

    Process = ForkProcess
    Timer = _TimerClass("ForkTimer")


class SpawnContext(_Engine, _standard.SpawnContext):
    """The context of the start method 'spawn'."""

    Process = SpawnProcess
    Timer = _TimerClass("SpawnTimer")


class ForkServerContext(_Engine, _standard.ForkServerContext):
    """The context of the start method 'forkserver'."""

    Process = ForkServerProcess
    Timer = _TimerClass("ForkServerTimer")


class DefaultContext(_Engine, _standard.DefaultContext):
    """The context behind the names of the package, whose start method is set at most once.

    It has no state: the choice lives in the standard library's default context, where `SyncManager()`, `pool.Pool()`
    and executors without a context find it too.
    """

    Process = Process  # type: ignore[assignment]
    Timer = _TimerClass("Timer")

    def __init__(self) -> None:
        """Deliberately does not call the standard initialiser: there is nothing to initialise."""

    @property
    def _default_context(self) -> Any:
        return _ours(_standard_default._default_context)

    @property
    def _actual_context(self) -> Any:
        return _ours(_standard_default._actual_context)

    @_actual_context.setter
    def _actual_context(self, context: Any) -> None:
        _standard_default._actual_context = _theirs(context)


_contexts: dict[str, Any] = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}
_default_context = DefaultContext()


def _ours(context: Any) -> Any:
    """The tasuki context that stands for one of the standard library's own; anything else as it is."""
    for name, standard in _standard_contexts.items():
        if context is standard:
            return _contexts.get(name, context)
    return context


def _theirs(context: Any) -> Any:
    """The reverse of `_ours`."""
    for name, ours in _contexts.items():
        if context is ours:
            return _standard_contexts.get(name, context)
    return context


def _install_classes() -> None:
    """Put our classes into the standard modules, where nobody subclasses them (queues.Queue stays what it is)."""
    import multiprocessing.synchronize as standard

    from tasuki import synchronize

    standard.Lock = synchronize.Lock  # type: ignore[misc]
    standard.RLock = synchronize.RLock  # type: ignore[misc]
    standard.Event = synchronize.Event  # type: ignore[misc]
    standard.Barrier = synchronize.Barrier  # type: ignore[misc]
    standard.Semaphore = synchronize.Semaphore  # type: ignore[misc]
    standard.BoundedSemaphore = synchronize.BoundedSemaphore  # type: ignore[misc]
    standard.Condition = synchronize.Condition  # type: ignore[misc]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        __import__(_LAZY[name])
        return getattr(sys.modules[_LAZY[name]], name)
    return getattr(_standard, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
