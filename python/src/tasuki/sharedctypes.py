"""ctypes objects in shared memory: `Value` on the engine, the arrays and raw objects from the standard library.

A value and its lock are one slot of an arena, the same in Rust and in Python: `with v.get_lock()` here excludes
`v.update(..)` there.
"""

from __future__ import annotations

import ctypes
import multiprocessing.sharedctypes as _standard
import weakref
from multiprocessing.reduction import ForkingPickler
from multiprocessing.sharedctypes import Array, RawArray, RawValue, copy, synchronized
from typing import Any

from tasuki import _tasuki
from tasuki._private import handles
from tasuki.synchronize import RLock

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

_typecodes: dict[str, type] = _standard.typecode_to_type  # type: ignore[attr-defined]


class _Block(_tasuki.Block):
    """The memory of one value, with its lock; what ctypes objects are laid over."""

    def create_memoryview(self) -> memoryview:
        """As the standard library's wrapper of a block of its heap has it."""
        return memoryview(self)  # type: ignore[arg-type]

    def __getstate__(self) -> Any:
        return handles.pack(self)

    def __setstate__(self, state: Any) -> None:
        handles.unpack(self, state)


class _OwnLock(RLock):
    """The lock that a value brings along."""

    def __init__(self, block: _Block) -> None:
        self._bind(block)


class _Shared(_tasuki.Guarded, _standard.SynchronizedBase):  # type: ignore[type-arg]
    """What our synchronised wrappers do in their own way: they can be pickled at any time, and signals cannot interrupt
    them with the lock held."""

    _obj: Any
    _lock: Any

    def __reduce__(self) -> tuple[Any, ...]:
        own = isinstance(self._lock, _OwnLock)
        return _rebuild, (type(self._obj), self._obj._wrapper, None if own else self._lock)

    def _tasuki_block(self) -> _Block:
        """What travels in MessagePack, where a value always has its own lock."""
        if not isinstance(self._lock, _OwnLock):
            raise TypeError(
                "a value with a lock of another object cannot be a handle for a program in another language"
            )
        block: _Block = self._obj._wrapper
        return block


def _guarded(name: str) -> Any:
    """A property for an attribute of the ctypes object, read and written under the lock."""

    def get(self: Any) -> Any:
        with self:
            return getattr(self._obj, name)

    def set_(self: Any, value: Any) -> None:
        with self:
            setattr(self._obj, name, value)

    return property(get, set_)


class Synchronized(_Shared, _standard.Synchronized):  # type: ignore[type-arg]
    """A simple ctypes object with its lock."""

    value = _guarded("value")


class SynchronizedNumber(_tasuki.Number, Synchronized):
    """A number with its own lock: `value` takes the lock, reads or writes, and frees it in one native call."""

    def __init__(self, obj: Any, lock: Any) -> None:
        super().__init__(obj, lock)
        self._tie(obj._wrapper, obj._type_, obj, lock)


class SynchronizedArray(_Shared, _standard.SynchronizedArray):  # type: ignore[type-arg]
    """A ctypes array type used as the type of a value, with its lock."""


class SynchronizedString(_Shared, _standard.SynchronizedString):
    """An array of characters used as the type of a value, with its lock."""

    value = _guarded("value")
    raw = _guarded("raw")


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """Returns a ctypes object in shared memory, in a wrapper with a lock unless `lock` is False.

    `lock` may also be a lock to use instead of the value's own.
    """
    type_ = _typecodes.get(typecode_or_type, typecode_or_type)
    block = _Block()
    block._create(_element(type_), ctypes.sizeof(type_))
    obj = _lay(type_, block)
    obj.__init__(*args)
    if lock is False:
        return obj
    if lock in (True, None):
        return _wrap(obj, _OwnLock(block))
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return _wrap(obj, lock)


def _element(type_: Any) -> int:
    """The engine's number for what the bytes of a type are; Rust opens an integer or a float only as what it is."""
    code = getattr(type_, "_type_", None)
    if not isinstance(code, str):
        return _OPAQUE
    return _ELEMENTS.get(code, _OPAQUE) and _ELEMENTS[code] + ctypes.sizeof(type_)


_OPAQUE = 0
_ELEMENTS = dict.fromkeys("bhilq", 0x10) | dict.fromkeys("BHILQ", 0x20) | dict.fromkeys("fd", 0x30)
_NUMBERS = frozenset(map(_typecodes.__getitem__, "bhilqBHILQfd")) | {ctypes.c_bool}
_TYPES = {_element(type_): type_ for type_ in map(_typecodes.__getitem__, "bhiqBHIQfd")}


def _from_block(block: _Block) -> Any:
    """The value in a block that came without a Python type: from Rust, or in MessagePack."""
    type_ = _TYPES.get(block._element, ctypes.c_char * len(block))
    return _wrap(_lay(type_, block), _OwnLock(block))


def _lay(type_: Any, block: _Block) -> Any:
    """The ctypes object in a block."""
    ForkingPickler.register(type_, _reduce_ctype)
    obj = type_.from_buffer(block)
    obj._wrapper = block
    return obj


def _wrap(obj: Any, lock: Any) -> Any:
    if isinstance(obj, ctypes._SimpleCData):
        is_number = type(obj) in _NUMBERS and isinstance(lock, _OwnLock)
        return (SynchronizedNumber if is_number else Synchronized)(obj, lock)
    if isinstance(obj, ctypes.Array):
        return (SynchronizedString if obj._type_ is ctypes.c_char else SynchronizedArray)(obj, lock)
    return _structure_wrapper(type(obj))(obj, lock)


_structure_wrappers: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()


def _structure_wrapper(type_: Any) -> Any:
    """The wrapper class for a Structure or Union: a property for each field."""
    wrapper = _structure_wrappers.get(type_)
    if wrapper is None:
        fields = {field[0]: _guarded(field[0]) for field in type_._fields_}
        wrapper = _structure_wrappers[type_] = type(f"Synchronized{type_.__name__}", (_Shared,), fields)
    return wrapper


def _rebuild(type_: Any, block: _Block, lock: Any) -> Any:
    return _wrap(_lay(type_, block), _OwnLock(block) if lock is None else lock)


def _reduce_ctype(obj: Any) -> Any:
    """Reduces any object of a type that has been used in shared memory: ours, the standard library's, or a plain one."""
    block = getattr(obj, "_wrapper", None)
    if isinstance(block, _Block):
        return _lay, (type(obj), block)
    if block is not None:
        return _standard.reduce_ctype(obj)  # type: ignore[attr-defined]
    return obj.__reduce_ex__(2)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
