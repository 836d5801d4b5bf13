"""The ends of a queue, for programs that look behind one: `_reader`, `_writer` and `_rlock`.

In the standard library a queue is a pipe with locks, and its own pools, its executors and many programs use these
private parts: they wait for `_reader` beside other things, take from it, send into `_writer`, and close in each process
the end that it does not use. Here they are views of a queue of the engine, which has no pipe and needs no lock.
"""

from __future__ import annotations

import os
import time
from multiprocessing import queues
from queue import Empty

from tasuki import _tasuki
from tasuki._private.behind import NoLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Self

__all__ = ("Reader", "Turn", "Writer")


class _End:
    """One end of a queue. Ends are equal if they are the same end of the same object."""

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._queue is self._queue

    def __hash__(self) -> int:
        return hash((type(self), id(self._queue)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._queue,)

    @property
    def closed(self) -> bool:
        """Whether this process has closed this end."""
        raise NotImplementedError

    def close(self) -> None:
        """Declare that this process will not use this end."""
        raise NotImplementedError

    def fileno(self) -> int:
        """A descriptor to be polled, not to be read or written."""
        raise NotImplementedError

    def _check(self) -> None:
        if self.closed:
            raise OSError("handle is closed")


class Reader(_End):
    """The end that messages come out of, with the methods of a connection."""

    readable = True
    writable = False

    @property
    def closed(self) -> bool:
        return bool(self._queue._reader_closed)

    def close(self) -> None:
        if self._queue._close_reader():
            self._queue._forget()

    def fileno(self) -> int:
        self._check()
        return int(self._queue.fileno())

    def _fileno_within(self, timeout: float | None) -> int | None:
        """As `fileno`; None when that would take longer, since another process was stopped inside the queue."""
        self._check()
        number: int | None = self._queue._fileno_within(timeout)
        return number

    def recv(self) -> Any:
        """Take the oldest object, waiting for one."""
        return self._queue.get()

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Take the oldest object, as a pickle."""
        if maxlength is not None and maxlength < 0:
            raise ValueError("negative maxlength")
        data = bytes(queues._ForkingPickler.dumps(self.recv()))  # type: ignore[attr-defined]
        if maxlength is not None and len(data) > maxlength:
            raise OSError("bad message length")
        return data

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Whether an object can be taken, waiting for one; None means as long as it takes.

        Another process may take it first, unless this one has the queue's `_rlock`.
        """
        self._check()
        turn = self._queue.__dict__.get("_tasuki_turn")
        if turn is not None and turn.is_mine():
            return bool(turn.take_ahead(self._queue, timeout))
        if not self._queue.empty():
            return True
        if timeout is not None and timeout <= 0:
            return False
        deadline = None if timeout is None else _tasuki.deadline(timeout)
        while self._queue.empty() and not self._queue.is_shutdown:
            left = None if deadline is None else deadline - _tasuki.deadline()
            if left is not None and left <= 0:
                return False
            number = self._fileno_within(left)
            if number is None:
                continue
            left = None if deadline is None else deadline - _tasuki.deadline()
            if _tasuki.poll([number], left) and self._queue.empty():
                time.sleep(0.001)  # another process was quicker
        return True


class Writer(_End):
    """The end that messages go into, with the methods of a connection."""

    readable = False
    writable = True

    @property
    def closed(self) -> bool:
        return bool(self._queue._writer_closed)

    def close(self) -> None:
        if self._queue._close_writer():
            self._queue._forget()

    def fileno(self) -> int:
        self._check()
        return int(self._queue._room_fileno())

    def send(self, obj: Any) -> None:
        """Put an object."""
        self._queue.put(obj)

    def send_bytes(self, buf: Any, offset: int = 0, size: int | None = None) -> None:
        """Put an object, as its pickle."""
        view = memoryview(buf).cast("B")
        if offset < 0:
            raise ValueError("offset is negative")
        if offset > len(view):
            raise ValueError("buffer length < offset")
        if size is None:
            size = len(view) - offset
        elif size < 0:
            raise ValueError("size is negative")
        elif offset + size > len(view):
            raise ValueError("buffer length < offset + size")
        self._queue._put_pickle(bytes(view[offset : offset + size]))


class Turn(NoLock):
    """What stands for the readers' lock. While a process has it, a poll that says yes is a promise.

    Who has the standard lock and polls knows that nobody takes the message before its `recv`; `Pool.terminate` relies
    on it. Here nobody is kept from getting, so that poll takes the message ahead, and the next get of this process has
    it.
    """

    def __init__(self) -> None:
        self._holder = 0
        self._taker = 0
        self._ahead: list[Any] = []

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Let polls take ahead from now on."""
        self._holder = os.getpid()
        return True

    def release(self) -> None:
        """Let polls leave messages where they are; what was taken ahead comes with the next get."""
        self._holder = 0

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *exception: object) -> None:
        self.release()

    def is_mine(self) -> bool:
        """Whether this process has it."""
        return self._holder == os.getpid()

    def take_ahead(self, queue: Any, timeout: float | None) -> bool:
        """Whether an object is there for the next get, taken now if need be."""
        if not self._has_ahead():
            try:
                self._ahead.append(queue.get(True, timeout))
            except Empty:
                return False
            self._taker = os.getpid()
            queue._set_ahead(True)
        return True

    def pop(self, queue: Any) -> Any:
        """What was taken ahead; IndexError if nothing was."""
        queue._set_ahead(False)
        if not self._has_ahead():
            raise IndexError
        return self._ahead.pop()

    def _has_ahead(self) -> bool:
        if self._taker != os.getpid():
            self._ahead.clear()  # a parent's, which has it itself
        return bool(self._ahead)
