"""Waiting for queues in asyncio: coroutines that try, wait until the descriptor is ready, and try again.

An event loop watches a queue's descriptor only while somebody waits. The descriptor is ready as long as there is something
to do, so a wake-up cannot be lost: whoever was woken and is cancelled, or finds that another process was quicker, leaves
it as it is, and the loop calls again. Messages are taken by the coroutine itself, in one step with its return, never by
the loop: cancelling a wait loses nothing.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ("getters", "leave", "putters")


class Waiters:
    """The coroutines of one event loop that wait for one end of one queue; first come, first served."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fd: int, is_writer: bool) -> None:
        # The table below has these by their loop, which they must not keep alive.
        self._loop = weakref.ref(loop)
        # One of their own: the queue may be closed, in any thread, while the loop still watches.
        self._fd = os.dup(fd)
        self._is_writer = is_writer
        self._watched = False
        self._waiting: collections.deque[asyncio.Future[None]] = collections.deque()
        #: Who was woken and has not tried yet: until then nobody else need be woken.
        self._woken: asyncio.Future[None] | None = None

    def __del__(self) -> None:
        with contextlib.suppress(AttributeError):  # there was none to be had
            os.close(self._fd)

    def leave(self) -> None:
        """Have everybody try once more, in the loop, and learn that the queue is closed."""
        loop = self._loop()
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                loop.call_soon_threadsafe(self._wake_all)

    def _wake_all(self) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_result(None)

    async def until(self, attempt: Callable[..., Any], not_yet: type[Exception], *args: Any) -> Any:
        """The result of the first `attempt(*args)` that does not raise `not_yet`."""
        again = False
        while True:
            try:
                return attempt(*args)
            except not_yet:
                pass
            await self._turn(again)
            again = True

    async def _turn(self, again: bool) -> None:
        """Wait to be woken: behind all others, or before them `again` after having been woken in vain."""
        future = asyncio.get_running_loop().create_future()
        if again:
            self._waiting.appendleft(future)
        else:
            self._waiting.append(future)
        self._watch()
        try:
            await future
        finally:
            if self._woken is future:
                self._woken = None
            else:
                self._waiting.remove(future)
            self._watch()

    def _wake(self) -> None:
        """Called by the loop in each of its rounds in which the descriptor is ready."""
        if self._woken is not None:
            return
        for future in self._waiting:
            if not future.done():  # a cancelled one is about to leave
                self._woken = future
                self._waiting.remove(future)
                future.set_result(None)
                break
        self._watch()

    def _watch(self) -> None:
        """Have the descriptor watched while somebody waits for it."""
        wanted = bool(self._waiting)
        loop = self._loop()
        if wanted == self._watched or loop is None or loop.is_closed():
            return
        self._watched = wanted
        if not wanted:
            (loop.remove_writer if self._is_writer else loop.remove_reader)(self._fd)
        elif self._is_writer:
            loop.add_writer(self._fd, self._wake)
        else:
            loop.add_reader(self._fd, self._wake)


_Table = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Waiters]
_getters: weakref.WeakKeyDictionary[Any, _Table] = weakref.WeakKeyDictionary()
_putters: weakref.WeakKeyDictionary[Any, _Table] = weakref.WeakKeyDictionary()


def getters(queue: Any) -> Waiters:
    """Those who wait to get from this queue in the running loop."""
    return _waiters(_getters, queue, False)


def putters(queue: Any) -> Waiters:
    """Those who wait to put into this queue in the running loop."""
    return _waiters(_putters, queue, True)


def leave(queue: Any) -> None:
    """Called when this process has closed a queue: nobody waits for it any more."""
    for of in (_getters, _putters):
        for waiters in list(of.pop(queue, {}).values()):
            waiters.leave()


def _waiters(of: weakref.WeakKeyDictionary[Any, _Table], queue: Any, is_writer: bool) -> Waiters:
    loop = asyncio.get_running_loop()
    table = of.setdefault(queue, weakref.WeakKeyDictionary())
    waiters = table.get(loop)
    if waiters is None:
        fd = queue._room_fileno() if is_writer else queue.fileno()
        waiters = table[loop] = Waiters(loop, fd, is_writer)
    return waiters
