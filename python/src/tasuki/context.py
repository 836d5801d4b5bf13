"""Contexts: the standard ones with the engine's objects in the places where we have them.

Each class derives from the standard library's concrete class, so `isinstance` stays true for every library that checks,
and whatever a later Python adds is inherited. `_Engine` is the one place that decides which names run on the engine:
a name does exactly when `_Engine` defines it. Nothing here starts interpreters or touches `_bootstrap`.
"""

from __future__ import annotations

import multiprocessing.context as _standard
from multiprocessing.context import (
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    get_spawning_popen,
    set_spawning_popen,
)
from typing import Any

__all__ = (
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "Process",
    "ProcessError",
    "SpawnContext",
    "SpawnProcess",
    "TimeoutError",
    "get_spawning_popen",
    "set_spawning_popen",
)

# The standard library's own default and contexts, as they were before anybody called install().
_standard_default: Any = _standard._default_context
_standard_contexts: dict[str, BaseContext] = dict(_standard._concrete_contexts)  # type: ignore[attr-defined]

#: What a fork server imports before it forks for us, so that children find it loaded.
PRELOAD = "tasuki"


class _Engine(BaseContext):
    """What a tasuki context does in its own way: the names on the engine, and finding the other contexts."""

    def get_context(self, method: str | None = None) -> Any:
        """Returns the context of a start method; without one, this context (the module: the default one)."""
        if method is None:
            return super().get_context()
        ours = _contexts.get(method)
        # A method that another package registered with the standard library ('loky') is served by its own context.
        return ours if ours is not None else _standard_default.get_context(method)


class Process(_standard.Process):
    """An activity run in a separate process, started by the default start method."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _default_context.get_context().Process._Popen(process_obj)

    @staticmethod
    def _after_fork() -> Any:
        return _default_context.get_context().Process._after_fork()


class ForkProcess(_standard.ForkProcess):
    """A process started by os.fork()."""


class SpawnProcess(_standard.SpawnProcess):
    """A process started as a fresh interpreter."""


class ForkServerProcess(_standard.ForkServerProcess):
    """A process forked by a server that has no threads and has loaded tasuki."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        from tasuki._private import installing

        installing.preload()
        return _standard.ForkServerProcess._Popen(process_obj)


class ForkContext(_Engine, _standard.ForkContext):
    """The context of the start method 'fork'."""

    Process = ForkProcess


class SpawnContext(_Engine, _standard.SpawnContext):
    """The context of the start method 'spawn'."""

    Process = SpawnProcess


class ForkServerContext(_Engine, _standard.ForkServerContext):
    """The context of the start method 'forkserver'."""

    Process = ForkServerProcess


class DefaultContext(_Engine, _standard.DefaultContext):
    """The context behind the names of the package, whose start method is set at most once.

    It has no state: the choice lives in the standard library's default context, where `SyncManager()`, `pool.Pool()`
    and executors without a context find it too.
    """

    Process = Process  # type: ignore[assignment]

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


def _engine_names() -> dict[str, str]:
    """The names that `_Engine` serves with a class of ours, and that class."""
    return {
        name: function.__annotations__["return"]
        for name, function in vars(_Engine).items()
        if name[0].isupper() and callable(function)
    }


def _install_classes() -> None:
    """Put our classes into the standard modules, where nobody subclasses them (queues.Queue stays what it is)."""


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
