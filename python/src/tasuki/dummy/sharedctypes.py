"""Values and arrays that threads share: ctypes objects with a lock, in the standard library's wrappers."""

from __future__ import annotations

import ctypes
from typing import Any

from tasuki.dummy.synchronize import RLock

__all__ = ("Array", "RawArray", "RawValue", "Value")


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """Returns a ctypes object without a lock."""
    return _type(typecode_or_type)(*args)


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:
    """Returns a ctypes array without a lock: of zeros, or of what the initializer has."""
    type_ = _type(typecode_or_type)
    if isinstance(size_or_initializer, int):
        return (type_ * size_or_initializer)()
    return (type_ * len(size_or_initializer))(*size_or_initializer)


def Value(typecode_or_type: Any, *args: Any, lock: Any = True) -> Any:
    """Returns a ctypes object in a wrapper with a lock, unless `lock` is False; it may also be a lock to use."""
    return _guarded(RawValue(typecode_or_type, *args), lock)


def Array(typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True) -> Any:
    """Returns a ctypes array in a wrapper with a lock, unless `lock` is False; it may also be a lock to use."""
    return _guarded(RawArray(typecode_or_type, size_or_initializer), lock)


def _type(typecode_or_type: Any) -> Any:
    from multiprocessing.sharedctypes import typecode_to_type  # type: ignore[attr-defined]

    return typecode_to_type.get(typecode_or_type, typecode_or_type)


def _guarded(obj: ctypes._CData, lock: Any) -> Any:
    from multiprocessing.sharedctypes import synchronized

    if lock is False:
        return obj
    if lock in (True, None):
        lock = RLock()
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    # A context is only asked for a lock, and there is one; without any, the default one would be fixed.
    return synchronized(obj, lock, ctx=lock)  # type: ignore[call-overload]
