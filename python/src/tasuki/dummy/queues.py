"""Queues between threads: the standard library's, with the methods that queues between processes have."""

from __future__ import annotations

import asyncio
import collections
import queue as _queue
import time
from queue import Empty, Full
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tasuki.queues import ShutDown

__all__ = ("Empty", "Full", "JoinableQueue", "Queue", "ShutDown", "SimpleQueue")

_T = TypeVar("_T")


class Queue(_queue.Queue[_T]):
    """A `queue.Queue`. Nothing is written, so `codec` changes nothing, and what is got is the object that was put."""

    def __init__(self, maxsize: int = 0, *, codec: str = "pickle") -> None:
        super().__init__(maxsize)
        self.is_shutdown = False

    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None:
        """Puts an object into the queue, waiting for room if need be."""
        with self.not_full:
            if not self.not_full.wait_for(self._may_put, _seconds(block, timeout)):
                raise Full
            if self.is_shutdown:
                raise ShutDown
            self._put(item)
            self.unfinished_tasks += 1
            self.not_empty.notify()

    def get(self, block: bool = True, timeout: float | None = None) -> _T:
        """Takes the oldest object out of the queue, waiting for one if need be."""
        with self.not_empty:
            if not self.not_empty.wait_for(self._may_get, _seconds(block, timeout)):
                raise Empty
            if not self._qsize():
                raise ShutDown
            item: _T = self._get()
            self.not_full.notify()
            return item

    def put_many(self, objs: Iterable[_T], block: bool = True, timeout: float | None = None) -> None:
        """Puts several objects; the exception says in `put` how many were, if not all."""
        deadline = None if timeout is None else time.monotonic() + timeout
        count = 0
        try:
            for obj in list(objs):
                self.put(obj, block, None if deadline is None else deadline - time.monotonic())
                count += 1
        except BaseException as error:
            error.put = count  # type: ignore[attr-defined]
            raise

    def get_many(self, max: int | None = None, block: bool = True, timeout: float | None = None) -> list[_T]:
        """Takes as many objects as wait, `max` of them at most, waiting for one if need be."""
        if max is not None and max < 1:
            raise ValueError("max must be at least 1")
        objs = [self.get(block, timeout)]
        try:
            while max is None or len(objs) < max:
                objs.append(self.get_nowait())
        except (Empty, ShutDown):
            pass
        return objs

    def get_view(self, block: bool = True, timeout: float | None = None) -> Any:
        """As `get`, but bytes and a bytearray come as a memoryview."""
        obj = self.get(block, timeout)
        return memoryview(obj) if type(obj) in (bytes, bytearray) else obj  # type: ignore[arg-type]

    async def aget(self) -> _T:
        """Takes the oldest object, waiting for one in asyncio. A wait that is cancelled takes nothing."""
        return await self._until(self._getters, self._may_get, Empty, self.get_nowait)  # type: ignore[no-any-return]

    async def aput(self, obj: _T) -> None:
        """Puts an object, waiting for room in asyncio. A wait that is cancelled puts nothing."""
        await self._until(self._putters, self._may_put, Full, self.put_nowait, obj)

    def shutdown(self, immediate: bool = False) -> None:
        """Ends the use of the queue: `put` raises ShutDown, and so does `get` once it is empty, or at once."""
        with self.mutex:
            self.is_shutdown = True
            while immediate and self._qsize():
                self._get()
                if self.unfinished_tasks > 0:
                    self.unfinished_tasks -= 1
            if not self.unfinished_tasks:
                self.all_tasks_done.notify_all()
            self.not_empty.notify_all()
            self.not_full.notify_all()
            for waiters in (self._getters, self._putters):
                while waiters:
                    _wake_one(waiters)

    def close(self) -> None:
        """Does nothing: other threads use the same queue."""

    def join_thread(self) -> None:
        """Does nothing: there is no thread behind it."""

    def cancel_join_thread(self) -> None:
        """Does nothing: there is no thread behind it."""

    # What the standard class calls, with its mutex held.

    def _init(self, maxsize: int) -> None:
        super()._init(maxsize)
        self._getters: _Waiters = collections.deque()
        self._putters: _Waiters = collections.deque()

    def _put(self, item: _T) -> None:
        super()._put(item)
        _wake_one(self._getters)

    def _get(self) -> _T:
        item: _T = super()._get()
        _wake_one(self._putters)
        return item

    def _may_put(self) -> bool:
        return self.is_shutdown or self.maxsize <= 0 or self._qsize() < self.maxsize

    def _may_get(self) -> bool:
        return self.is_shutdown or self._qsize() > 0

    async def _until(
        self,
        waiters: _Waiters,
        may: Callable[[], bool],
        not_yet: type[Exception],
        attempt: Callable[..., Any],
        *args: Any,
    ) -> Any:
        """The result of the first attempt that does not raise `not_yet`; in between it waits to be woken."""
        while True:
            try:
                return attempt(*args)
            except not_yet:
                pass
            with self.mutex:
                if may():
                    continue
                woken = asyncio.get_running_loop().create_future()
                waiters.append(woken)
            try:
                await woken
            except asyncio.CancelledError:
                with self.mutex:
                    if woken in waiters:
                        waiters.remove(woken)
                    else:
                        _wake_one(waiters)  # the wake-up is another's
                raise


_Waiters = collections.deque[asyncio.Future[None]]


def _wake_one(waiters: _Waiters) -> None:
    """Wake the one who waits longest, from whichever thread."""
    while waiters:
        woken = waiters.popleft()
        try:
            woken.get_loop().call_soon_threadsafe(_finish, woken)
            return
        except RuntimeError:
            continue  # its loop is closed


def _finish(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)


def _seconds(block: bool, timeout: float | None) -> float | None:
    if not block:
        return 0
    return None if timeout is None else max(timeout, 0)


class JoinableQueue(Queue[_T]):
    """A `queue.Queue`, which has `task_done` and `join`; no thread is killed with a task in its hand."""

    def __init__(self, maxsize: int = 0, *, codec: str = "pickle", on_owner_died: str = "raise") -> None:
        super().__init__(maxsize, codec=codec)
        self.on_owner_died = on_owner_died


class SimpleQueue(Queue[_T]):
    """A queue without a bound."""

    def __init__(self, *, codec: str = "pickle") -> None:
        super().__init__(codec=codec)
