"""Queues between processes: `Queue` on the engine, the others from the standard library.

A put is done when it returns: there is no thread that feeds a pipe, nothing to flush at exit, nothing that a full pipe
can block for ever. What cannot be pickled is an error at the caller.
"""

from __future__ import annotations

import multiprocessing.queues as _standard
import types
from multiprocessing.queues import JoinableQueue, SimpleQueue
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, TypeVar

from tasuki import _tasuki
from tasuki._private import handles

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]

_T = TypeVar("_T")

if TYPE_CHECKING:
    from multiprocessing.queues import Queue as _StandardQueue
else:

    class _StandardQueue:
        """Subscripts the standard class, which it allows only from Python 3.12 on."""

        def __class_getitem__(cls, item: object) -> object:
            return types.GenericAlias(_standard.Queue, item)


class Queue(_tasuki.Queue, _StandardQueue[_T]):
    """A queue that any number of processes put into and get from.

    `maxsize` bounds it, 0 or less means no bound. `codec` says how objects are written for which the engine has no
    form of its own (int, float, bool, None, str and bytes have one): "pickle", or "msgpack", which Rust reads as well.
    """

    def __init__(self, maxsize: int = 0, *, ctx: Any = None, codec: str = "pickle") -> None:
        self._create(maxsize, codec)

    def __getstate__(self) -> Any:
        return handles.pack(self)

    def __setstate__(self, state: Any) -> None:
        handles.unpack(self, state)

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
        if hook is getattr(_standard.Queue, "_on_queue_feeder_error"):
            try:
                raise error
            finally:
                del error, obj  # or the traceback would keep the object until the next collection
        hook(error, obj)

    if not TYPE_CHECKING:
        __class_getitem__ = classmethod(types.GenericAlias)

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__qualname__} object at {id(self):#x}>"


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
