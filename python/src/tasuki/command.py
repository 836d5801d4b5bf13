"""Programs in any language as children that share queues, locks and values with this one.

`Command` starts a program and hands it things by name; `inherited` is how a program that was started so, in Python or
in Rust, gets them.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from tasuki import _tasuki

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:  # for programs that evaluate annotations
    Any = object

__all__ = ["Command", "inherited", "inherited_names"]


class Command:
    """A program to start, and the process that runs it.

    `handles` maps names to queues, locks and values, or to anything that MessagePack can say. A daemon ends with this
    process, however this process ends. The program inherits the standard streams and no other descriptor.
    """

    def __init__(
        self,
        args: Sequence[str | os.PathLike[str]],
        *,
        handles: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | os.PathLike[str] | None = None,
        daemon: bool = False,
    ) -> None:
        if isinstance(args, (str, os.PathLike)):
            args = [args]
        self.args = [os.fspath(arg) for arg in args]
        self.handles = dict(handles or {})
        self.env = None if env is None else dict(env)
        self.cwd = cwd
        self.daemon = daemon
        self._child: _tasuki.Child | None = None

    def start(self) -> Command:
        """Start the program; returns the command itself."""
        assert self._child is None, "cannot start a command twice"
        self._child = _tasuki.start(self.args, self.handles, self.env, self.cwd, self.daemon)
        return self

    def _started(self) -> _tasuki.Child:
        if self._child is None:
            raise ValueError("the command was not started yet")
        return self._child

    @property
    def pid(self) -> int | None:
        """The process id, or None before the start."""
        return None if self._child is None else self._child.pid

    @property
    def sentinel(self) -> int:
        """A descriptor that becomes ready when the program ends, for `multiprocessing.connection.wait`."""
        return self._started().sentinel

    @property
    def exitcode(self) -> int | None:
        """The exit code, minus the signal that ended the program, or None while it runs."""
        ended = None if self._child is None else self._child.poll()
        if ended is None:
            return None
        code, signal = ended
        return code if code is not None else -(signal or 0)

    def is_alive(self) -> bool:
        """Whether the program runs."""
        return self._child is not None and self.exitcode is None

    def join(self, timeout: float | None = None) -> None:
        """Wait until the program ends, or for `timeout` seconds."""
        from multiprocessing.connection import wait

        if wait([self.sentinel], timeout):
            self._started().poll()  # lets the system forget the process

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._started().terminate()

    def kill(self) -> None:
        """Send SIGKILL."""
        self._started().kill()

    def __repr__(self) -> str:
        if self._child is None:
            state = "initial"
        elif (code := self.exitcode) is None:
            state = f"pid={self.pid} started"
        else:
            state = f"pid={self.pid} exitcode={code}"
        return f"<Command {self.args!r} {state}>"


def inherited(name: str) -> Any:
    """What the program that started this one handed over under a name.

    Asking twice gives two handles to the same object. A name that was not handed over is a KeyError; a program that was
    not started by a Command, RuntimeError.
    """
    return _tasuki.inherited(name)


def inherited_names() -> list[str]:
    """The names under which the parent handed something to this program."""
    return list(_tasuki.inherited_names())
