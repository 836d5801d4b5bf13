"""Queues between processes: `Queue`, `JoinableQueue` and `SimpleQueue`, on the engine.

A put is done when it returns: there is no thread that feeds a pipe, nothing to flush at exit, nothing that a full pipe
can block for ever. What cannot be pickled is an error at the caller. Arrays and other buffers of a megabyte and more are
received where they lie, in memory that is the receiver's until the last object over it is gone.
"""

from __future__ import annotations

import collections
import multiprocessing.queues as _standard
import queue as _queue
import sys
import types
from queue import Empty, Full

from tasuki import _private, _tasuki
from tasuki._private import handles

# Now, as in `synchronize`: a loss is told once.
from tasuki._private import owner_died  # noqa: F401

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "ShutDown", "SimpleQueue"]

#: When so many bytes wait, a SimpleQueue is full.
_PIPE = 1 << 20

TYPE_CHECKING = False  # loading `typing` would take as long as all of tasuki
if TYPE_CHECKING:
    from multiprocessing.queues import JoinableQueue as _StandardJoinableQueue
    from multiprocessing.queues import Queue as _StandardQueue
    from multiprocessing.queues import SimpleQueue as _StandardSimpleQueue
    from typing import Any, Generic, TypeVar

    from tasuki.context import OnOwnerDied

    _T = TypeVar("_T")

    class _Native(_tasuki.Queue, Generic[_T]):
        """What is native, of which nobody says at run time what is in it."""

    class ShutDown(Exception):
        """The queue was shut down: see `Queue.shutdown`. From Python 3.13 on this is `queue.ShutDown`."""

else:  # for programs that evaluate annotations
    Any = _T = object
    OnOwnerDied = str

    class _Subscripted:
        """Subscripts a class that does not allow it; the standard ones do from Python 3.12 on."""

        def __init__(self, plain):
            self._plain = plain

        def __getitem__(self, item):
            return types.GenericAlias(self._plain, item)

    _Native = _Subscripted(_tasuki.Queue)
    _StandardQueue = _Subscripted(_standard.Queue)
    _StandardJoinableQueue = _Subscripted(_standard.JoinableQueue)
    _StandardSimpleQueue = _Subscripted(_standard.SimpleQueue)

    if hasattr(_queue, "ShutDown"):
        ShutDown = _queue.ShutDown
    else:

        class ShutDown(Exception):
            """The queue was shut down: see `Queue.shutdown`. From Python 3.13 on this is `queue.ShutDown`."""


class _Common(_Native[_T]):
    """What queues of every kind have."""

    def __getstate__(self) -> Any:
        return handles.pack(self)

    def __setstate__(self, state: Any) -> None:
        handles.unpack(self, state)

    async def aget(self) -> _T:
        """Take the oldest object, waiting for one in asyncio. A wait that is cancelled takes nothing.

        The name is that of other asynchronous twins of methods that block: an `a` before it, as in Django.
        """
        from tasuki._private.awaiting import getters

        return await getters(self).until(self.get_nowait, Empty)  # type: ignore[no-any-return]

    async def aput(self, obj: _T) -> None:
        """Put an object, as it is now, waiting for room in asyncio. A wait that is cancelled puts nothing."""
        try:
            self.put_nowait(obj)
        except Full:
            prepared = self._prepare(obj)
            del obj
            if prepared is not None:
                from tasuki._private.awaiting import putters

                await putters(self).until(self._put_prepared, Full, prepared)

    def close(self) -> None:
        """Declare that this process will neither put nor get any more; others go on, and get what was put.

        Its descriptors and memory are given back: at once, or when the last call of another thread ends that uses the
        queue, and the last large array that came out of it is gone.
        """
        super().close()
        self._forget()

    def _forget(self) -> None:
        """Called when both ends are closed: gives back what Python keeps for this queue."""
        self.__dict__.pop("_tasuki_ticket", None)
        awaiting = sys.modules.get("tasuki._private.awaiting")
        if awaiting is not None:
            awaiting.leave(self)

    @property
    def _reader(self) -> _private.ends.Reader:
        return _private.ends.Reader(self)

    @property
    def _writer(self) -> _private.ends.Writer:
        return _private.ends.Writer(self)

    @property
    def _rlock(self) -> _private.ends.Turn:
        return self.__dict__.setdefault("_tasuki_turn", _private.ends.Turn())  # type: ignore[no-any-return]

    @property
    def _wlock(self) -> _private.behind.NoLock:
        return _private.behind.NoLock()

    @property
    def _poll(self) -> Any:
        return self._reader.poll

    def _take_ahead(self) -> Any:
        return self._rlock.pop(self)

    def _refused(self, error: Exception, obj: object) -> None:
        """Called by put for an object that cannot be written."""
        try:
            raise error
        finally:
            del error, obj  # or the traceback would keep the object until the next collection

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(types.GenericAlias)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} object at {id(self):#x}>"


class Queue(_Common[_T], _StandardQueue[_T]):
    """A queue that any number of processes put into and get from.

    `maxsize` bounds it, 0 or less means no bound. `codec` says how objects are written for which the engine has no
    form of its own (int, float, bool, None, str and bytes have one): "pickle", or "msgpack", which Rust reads as well.
    """

    # The thread that feeds the standard queue's pipe, which never runs here.
    _thread = _jointhread = _close = None
    _ignore_epipe = _joincancelled = False

    def __init__(self, maxsize: int = 0, *, ctx: Any = None, codec: str = "pickle") -> None:
        self._create(maxsize, codec)

    @property
    def _buffer(self) -> collections.deque[Any]:
        return collections.deque()  # what waits for that thread

    @property
    def _notempty(self) -> _private.behind.Moment:
        return _private.behind.Moment(self._poll)

    @property
    def _sem(self) -> _private.behind.Count:
        return _private.behind.Count(lambda: max(self._maxsize - self.qsize(), 0))

    @property
    def _send_bytes(self) -> Any:
        return self._writer.send_bytes

    @property
    def _recv_bytes(self) -> Any:
        return self._reader.recv_bytes

    def join_thread(self) -> None:
        """Does nothing after close(): what was put is delivered already."""
        assert self._closed, f"Queue {self!r} not closed"

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread to join."""

    def _refused(self, error: Exception, obj: object) -> None:
        """Called by put for an object that cannot be written.

        A subclass that has a hook for it gets its call, as it would from the feeder thread of the standard queue.
        """
        hook: Any = getattr(self, "_on_queue_feeder_error")
        try:
            if hook is getattr(_standard.Queue, "_on_queue_feeder_error"):
                raise error
            hook(error, obj)
        finally:
            del error, obj


class JoinableQueue(Queue[_T], _StandardJoinableQueue[_T]):
    """A queue of tasks: whoever takes one says `task_done` when it is, and `join` waits until all are.

    A task belongs to the process that took it. If that is killed first, its tasks count as done, and the next `join` that
    waits is told, by `on_owner_died`: "raise" raises OwnerDied, once for each such process, "warn" and "ignore" go
    on waiting for the others. Who wants every task done puts a lost one again.
    """

    def __init__(
        self,
        maxsize: int = 0,
        *,
        ctx: Any = None,
        codec: str = "pickle",
        on_owner_died: OnOwnerDied = "raise",
    ) -> None:
        self._create(maxsize, codec, True)
        self.on_owner_died = on_owner_died

    def task_done(self) -> None:
        """Says that a task that was taken is done; ValueError if there are fewer unfinished ones."""
        self._task_done()

    def join(self) -> None:
        """Waits until every task that was put is done."""
        self._join()

    # What programs use that join with a timeout.

    @property
    def _unfinished_tasks(self) -> _private.behind.Count:
        return _private.behind.Count(lambda: self._unfinished)

    @property
    def _cond(self) -> _private.behind.Moment:
        return _private.behind.Moment(self._join)

    @property
    def on_owner_died(self) -> OnOwnerDied:
        """What a join does about tasks that are lost."""
        return self._on_owner_died

    @on_owner_died.setter
    def on_owner_died(self, policy: OnOwnerDied) -> None:
        self._on_owner_died = policy

    def __getstate__(self) -> Any:
        return self.on_owner_died, super().__getstate__()

    def __setstate__(self, state: Any) -> None:
        self.on_owner_died, handle = state
        super().__setstate__(handle)


class SimpleQueue(_Common[_T], _StandardSimpleQueue[_T]):
    """A queue with the standard library's shortest list of methods; it has the others, too.

    It holds a megabyte, and then lets who puts wait, as a pipe does: a pool that is fed from a generator does not pull
    everything out of it. (`Queue` without a bound holds all there is.) `close` closes both ends for this process: using it
    then is an OSError.
    """

    def __init__(self, *, ctx: Any = None, codec: str = "pickle") -> None:
        self._create(0, codec, byte_limit=_PIPE)

    def close(self) -> None:
        """Close both ends for this process; others go on. Descriptors and memory are given back."""
        self._reader.close()
        self._writer.close()


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
