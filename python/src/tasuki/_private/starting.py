"""Starting processes, and what a started one is to its parent: the standard library's Popen, whose sentinel no other process
can silence.

Theirs is a pipe that becomes ready when nobody has its other end any more. A process that another thread forks meanwhile
inherits that end, and so do the child's own children. A pidfd tells of the child alone. Whoever joins gets the exit code,
also when several threads do so at once.
"""

from __future__ import annotations

import os
import threading
from multiprocessing import popen_fork
from types import BuiltinFunctionType

from tasuki._private import leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.popen_fork import Popen as _Popen
    from typing import Any
else:
    _Popen = object  # a program may have put a class of its own in the place of the standard ones

__all__ = ("fork", "forkserver", "spawn")


def _poll(numbers: list[int], timeout: Any) -> list[int]:
    from tasuki import _tasuki

    return _tasuki.poll(numbers, timeout)


class _OfChild(_Popen):
    """What our processes are started by that are children of this one: on top of one of the standard classes."""

    _parent: int
    _reaping: Any

    def _launch(self, process_obj: Any) -> None:
        self._parent = os.getpid()
        # A handler of a signal may ask for the process while its own thread does, as handlers of SIGCHLD do.
        self._reaping = threading.RLock()
        super()._launch(process_obj)  # type: ignore[misc]
        # Only the parent comes here. Nobody but `poll` lets the system forget the child, so the number is its own.
        try:
            pidfd = os.pidfd_open(self.pid)
        except OSError:
            return  # the system has none, or SIGCHLD is ignored and the child gone: the pipe has to do
        pipe: int = self.sentinel
        try:
            # Takes the pipe's place under its number, which is closed with the rest.
            os.dup2(pidfd, pipe, inheritable=False)
        finally:
            os.close(pidfd)

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """The exit code, None while the process runs; without `WNOHANG` it is waited for."""
        if not isinstance(os.waitpid, BuiltinFunctionType) or self._parent != os.getpid():
            # Somebody's own, gevent's for one, which knows of the ends of processes, and how to wait for them. Or this is a
            # forked child: the process is not its own, and a thread that it has not may have had the lock.
            return super().poll(flag)
        if self.returncode is None and not flag & os.WNOHANG:
            # Without taking it, so that another thread that asks meanwhile, and must not wait, can.
            try:
                os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOWAIT)
            except OSError:
                pass  # somebody else has, and `super` says what becomes of that
        with self._reaping:
            super().poll(os.WNOHANG)
            # Whatever that said: a handler that ran meanwhile may have been told.
            return self.returncode  # type: ignore[no-any-return]

    def wait(self, timeout: Any = None) -> int | None:
        """As `poll`, for `timeout` seconds at most."""
        if self.returncode is None and timeout is not None and not _poll([self.sentinel], timeout):
            return None
        return self.poll(os.WNOHANG if timeout == 0.0 else 0)


class _OfServer(_Popen):
    """What our processes are started by that are children of the fork server, which writes their exit code into a pipe."""

    _parent: int
    _reaping: Any
    _exitcode: int | None

    def _launch(self, process_obj: Any) -> None:
        self._parent = os.getpid()
        self._reaping = threading.RLock()
        self._exitcode = None
        super()._launch(process_obj)  # type: ignore[misc]

    def poll(self, flag: int = os.WNOHANG) -> int | None:
        """As that of a child. It can be read once, by one of those who wait for it, and not by what that one forks."""
        if self._parent != os.getpid():
            return self.returncode
        if self.returncode is None and not flag & os.WNOHANG:
            _poll([self.sentinel], None)
        with self._reaping:
            code = super().poll(os.WNOHANG) if self._exitcode is None else None
            if self._exitcode is None and code is not None:
                self._exitcode = code
                # The pipe is empty now, and silent until the server closes its end; or for longer, if another thread of
                # this process forked while it made the pipe. One without another end is ready for good.
                reader, writer = os.pipe()
                os.close(writer)
                os.dup2(reader, self.sentinel, inheritable=False)
                os.close(reader)
            # Whoever was interrupted by a handler that read it found nothing to read, which would be taken for 255.
            self.returncode = self._exitcode
            return self.returncode  # type: ignore[no-any-return]

    def wait(self, timeout: Any = None) -> int | None:
        """As `poll`, for `timeout` seconds at most."""
        if self.returncode is None and timeout is not None and not _poll([self.sentinel], timeout):
            return None
        return self.poll(os.WNOHANG if timeout == 0.0 else 0)


def fork(process_obj: Any) -> Any:
    """Starts a process by `os.fork()`."""
    leftovers.prepare(process_obj)
    return _with(_OfChild, popen_fork.Popen)(process_obj)


def spawn(process_obj: Any) -> Any:
    """Starts a process as a fresh interpreter."""
    from multiprocessing import popen_spawn_posix

    leftovers.prepare(process_obj)
    leftovers.note_tracker(process_obj)
    return _let_go(_with(_OfChild, popen_spawn_posix.Popen)(process_obj))


def forkserver(process_obj: Any) -> Any:
    """Starts a process as a child of the fork server."""
    from multiprocessing import popen_forkserver

    from tasuki._private import installing

    leftovers.prepare(process_obj)
    leftovers.note_tracker(process_obj)
    leftovers.hold_temporary_folder()  # the server's socket is there
    installing.preload()
    return _let_go(_with(_OfServer, popen_forkserver.Popen)(process_obj))


def _let_go(popen: Any) -> Any:
    """The child has its own copies of the descriptors of our objects, if any were among its arguments."""
    popen.__dict__.pop("_tasuki_descriptors", None)
    return popen


_classes: dict[type, type] = {}


def _with(ours: type, standard: type) -> type:
    """One of the standard classes, or what a program put in its place, with ours in front."""
    if standard not in _classes:
        _classes[standard] = type("Popen", (ours, standard), {"__module__": standard.__module__})
    return _classes[standard]
