"""A thread in the shape of a process, and who is running: what `tasuki.dummy` has for the names in `tasuki.process`."""

from __future__ import annotations

import multiprocessing.dummy as _standard
import os
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ("Process", "Timer", "active_children", "current_process", "parent_process")


class Process(_standard.DummyProcess):
    """An activity that runs in a thread, with what a process has: an exit code, a pid, a sentinel, `close()`."""

    def __init__(
        self,
        group: None = None,
        target: Callable[..., object] | None = None,
        name: str | None = None,
        args: Iterable[Any] = (),
        kwargs: Mapping[str, Any] = {},
        *,
        daemon: bool | None = None,
    ) -> None:
        current_process()  # so that it can have children, whatever thread it is
        super().__init__(group, target, name, args, kwargs)
        if daemon is not None:
            self.daemon = daemon
        self._exitcode = 0
        self._is_closed = False
        # Guards the two below.
        self._end = threading.Lock()
        self._has_ended = False
        self._sentinel: int | None = None

    def start(self) -> None:
        """Start the thread; the exit code will be what a process's would be."""
        self._check_closed()
        if not self._start_called:
            run = self.run
            # On the object, so that a subclass's `run` is observed too.
            self.run = lambda: self._observe(run)  # type: ignore[method-assign]
            try:
                super().start()
            finally:
                if not self._start_called:  # by another thread than the one that made it
                    del self.run
        else:
            super().start()  # says that it cannot be started twice

    def _observe(self, run: Callable[[], object]) -> None:
        try:
            run()
        except SystemExit as exit:
            if exit.code is not None and not isinstance(exit.code, int):
                print(exit.code, file=sys.stderr)
                self._exitcode = 1
            else:
                self._exitcode = exit.code or 0
        except BaseException:
            self._exitcode = 1
            raise
        finally:
            with self._end:
                self._has_ended = True
                if self._sentinel is not None:
                    os.eventfd_write(self._sentinel, 1)
            del self.run  # it refers to this object

    @property
    def exitcode(self) -> int | None:  # type: ignore[override]
        """None while it runs; then 0, what it gave to `sys.exit`, or 1 after an exception."""
        self._check_closed()
        return None if super().exitcode is None else self._exitcode

    @property
    def pid(self) -> int | None:
        """The number by which the kernel knows the thread, from its start on; no process has the same."""
        self._check_closed()
        return self.native_id

    @property
    def sentinel(self) -> int:
        """A descriptor that is readable once the thread has ended, for `multiprocessing.connection.wait`."""
        self._check_closed()
        if not self._start_called:
            raise ValueError("process not started")
        with self._end:
            if self._sentinel is None:
                self._sentinel = os.eventfd(int(self._has_ended), os.EFD_CLOEXEC)
                weakref.finalize(self, os.close, self._sentinel)
            return self._sentinel

    def is_alive(self) -> bool:
        """Whether it runs."""
        self._check_closed()
        return super().is_alive()

    def join(self, timeout: float | None = None) -> None:
        """Wait until it has ended, or until the timeout has passed."""
        self._check_closed()
        super().join(timeout)

    def close(self) -> None:
        """Use the object no more; it is an error while the thread runs."""
        if self._is_closed:
            return
        if self.is_alive():
            raise ValueError(
                "Cannot close a process while it is still running. You should first call join() or let it end."
            )
        getattr(self._parent, "_children", {}).pop(self, None)
        self._is_closed = True

    def terminate(self) -> None:
        """Raises NotImplementedError, unless the thread has ended already."""
        if self.is_alive():
            raise NotImplementedError(
                "a thread cannot be ended from outside: let it look at an Event now and then, or use a process"
            )

    kill = interrupt = terminate

    def _check_closed(self) -> None:
        if self._is_closed:
            raise ValueError("process object is closed")

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name!r} closed>" if self._is_closed else super().__repr__()


class Timer(Process, threading.Timer):
    """Calls a function in a thread of its own, `interval` seconds after `start()`, unless it is cancelled before."""

    def __init__(
        self,
        interval: float,
        function: Callable[..., object],
        args: Iterable[Any] | None = None,
        kwargs: Mapping[str, Any] | None = None,
        *,
        name: str | None = None,
        daemon: bool | None = None,
    ) -> None:
        Process.__init__(self, name=name, daemon=daemon)
        self.interval = interval
        self.function = function
        self.args = args if args is not None else []
        self.kwargs = kwargs if kwargs is not None else {}
        self.finished = threading.Event()


def current_process() -> Any:
    """Returns the thread that runs this: a `Process`, or another thread with a `pid` added."""
    thread: Any = threading.current_thread()
    if not isinstance(thread, Process):
        thread.pid = thread.native_id
        if not hasattr(thread, "_children"):
            thread._children = weakref.WeakKeyDictionary()
    return thread


def active_children() -> list[Any]:
    """Returns the threads that this thread has started and that still run."""
    children = current_process()._children
    for child in list(children):
        if not child.is_alive():
            children.pop(child, None)
    return list(children)


def parent_process() -> Any:
    """Returns the thread that started this one; None when it is no `Process`."""
    return getattr(threading.current_thread(), "_parent", None)
