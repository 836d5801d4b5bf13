"""Shared memory below the shared ctypes objects: `BufferWrapper` on the engine, the rest of the standard library's heap as
it is.

A `BufferWrapper` is a piece of unnamed shared memory. It lives as long as anybody has it, in any process, and no longer.
"""

from __future__ import annotations

import multiprocessing.heap as _standard
import sys

from tasuki import _tasuki
from tasuki._private import handles

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:  # for programs that evaluate annotations
    Any = object

__all__ = ["BufferWrapper"]


class BufferWrapper(_tasuki.Block):
    """`size` zero bytes of shared memory, which can be sent to other processes at any time."""

    #: The standard library's heap, in which nothing of ours lies.
    _heap = _standard.BufferWrapper._heap  # type: ignore[attr-defined]

    def __init__(self, size: int) -> None:
        if size < 0:
            raise ValueError(f"Size {size:n} out of range")
        if sys.maxsize <= size:
            raise OverflowError(f"Size {size:n} too large")
        self._create(0, size)

    def create_memoryview(self) -> memoryview:
        """The bytes, which stay as long as the view does."""
        return memoryview(self)  # type: ignore[arg-type]

    def __getstate__(self) -> Any:
        return handles.pack(self)

    def __setstate__(self, state: Any) -> None:
        handles.unpack(self, state)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
