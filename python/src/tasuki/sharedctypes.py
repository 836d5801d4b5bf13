"""ctypes objects in shared memory: values and arrays, with a lock or raw, on the engine.

A value or an array and its lock are one object of the engine, the same in Rust and in Python: `with v.get_lock()` here
excludes `v.update(..)` there. All of them can be pickled at any time, not only while a process is started.

Numbers have atomic operations beside the lock: `v.fetch_add(n)`, `v.compare_exchange(expected, new)` and so on, for an array
with the index first: `a.fetch_add(i, n)`. They do not take the lock, and are never lost among themselves. Do not mix them
with `with v.get_lock(): v.value += 1`, which reads and then writes: an atomic operation in between is lost.
"""

from __future__ import annotations

import ctypes
import multiprocessing.sharedctypes as _standard
import weakref
from multiprocessing.reduction import ForkingPickler

from tasuki import _tasuki
from tasuki.heap import BufferWrapper
from tasuki.synchronize import RLock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:  # for programs that evaluate annotations
    Any = object

__all__ = ["Array", "RawArray", "RawValue", "Value", "copy", "synchronized"]

_typecodes: dict[str, type] = _standard.typecode_to_type  # type: ignore[attr-defined]


# --- making them


def RawValue(typecode_or_type: Any, *args: Any) -> Any:
    """Returns a ctypes object in shared memory, without a lock."""
    type_ = _typecodes.get(typecode_or_type, typecode_or_type)
    obj = _new(type_)
    obj.__init__(*args)
    return obj


def RawArray(typecode_or_type: Any, size_or_initializer: Any) -> Any:
    """Returns a ctypes array in shared memory, without a lock: so many zeros, or a copy of a sequence."""
    type_ = _typecodes.get(typecode_or_type, typecode_or_type)
    if isinstance(size_or_initializer, int):
        return _new(type_ * size_or_initializer, is_array=True)  # type: ignore[operator]
    obj = _new(type_ * len(size_or_initializer), is_array=True)  # type: ignore[operator]
    obj.__init__(*size_or_initializer)
    return obj


def Value(typecode_or_type: Any, *args: Any, lock: Any = True, ctx: Any = None) -> Any:
    """Returns a ctypes object in shared memory, in a wrapper with a lock unless `lock` is False.

    `lock` may also be a lock to use instead of the value's own.
    """
    return _with_lock(RawValue(typecode_or_type, *args), lock)


def Array(typecode_or_type: Any, size_or_initializer: Any, *, lock: Any = True, ctx: Any = None) -> Any:
    """Returns a ctypes array in shared memory, in a wrapper with a lock unless `lock` is False.

    `lock` may also be a lock to use instead of the array's own.
    """
    return _with_lock(RawArray(typecode_or_type, size_or_initializer), lock)


def copy(obj: Any) -> Any:
    """Returns a copy of a ctypes object in shared memory, without a lock."""
    copied = _new(type(obj), is_array=isinstance(obj, ctypes.Array))
    ctypes.pointer(copied)[0] = obj
    return copied


def synchronized(obj: Any, lock: Any = None, ctx: Any = None) -> Any:
    """Returns a wrapper with a lock for a ctypes object: this lock, or a new one."""
    assert not isinstance(obj, _standard.SynchronizedBase), "object already synchronized"
    return _wrap(obj, lock or _own_lock(obj))


def _with_lock(obj: Any, lock: Any) -> Any:
    if lock is False:
        return obj
    if lock in (True, None):
        return _wrap(obj, _own_lock(obj))
    if not hasattr(lock, "acquire"):
        raise AttributeError(f"{lock!r} has no method 'acquire'")
    return _wrap(obj, lock)


# --- their memory


def _new(type_: Any, is_array: bool = False) -> Any:
    """Zeroes in shared memory, seen as this type."""
    try:
        size = ctypes.sizeof(type_)
    except TypeError as error:
        codes = ", ".join(_typecodes)
        raise TypeError(f"bad typecode (must be a ctypes type or one of {codes})") from error
    block = BufferWrapper.__new__(BufferWrapper)
    if is_array:
        # The engine has no arrays of elements without bytes.
        item = ctypes.sizeof(type_._type_) or 1
        block._create_array(_element(type_._type_), item, size // item)
    else:
        block._create(_element(type_), size)
    return _lay(type_, block)


def _lay(type_: Any, block: BufferWrapper) -> Any:
    """The ctypes object in a block."""
    type_ = _type_of(type_)
    ForkingPickler.register(type_, _reduce_ctype)
    obj = type_.from_buffer(block)
    obj._wrapper = block
    return obj


def _element(type_: Any) -> int:
    """The engine's number for what the bytes of a type are; Rust opens an integer or a float only as what it is."""
    code = getattr(type_, "_type_", None)
    if not isinstance(code, str) or type_ not in _NUMBERS:
        return _OPAQUE
    return _ELEMENTS.get(code, _OPAQUE) and _ELEMENTS[code] + ctypes.sizeof(type_)


_OPAQUE = 0
_ELEMENTS = dict.fromkeys("bhilq", 0x10) | dict.fromkeys("BHILQ", 0x20) | dict.fromkeys("fd", 0x30)
_NUMBERS = frozenset(map(_typecodes.__getitem__, "bhilqBHILQfd")) | {ctypes.c_bool}
_TYPES: dict[int, Any] = {_element(type_): type_ for type_ in map(_typecodes.__getitem__, "bhiqBHIQfd")}


def _from_block(block: BufferWrapper) -> Any:
    """The value or array in a block that came without a Python type: from Rust, or in MessagePack."""
    item = block._item
    type_ = _TYPES.get(block._element)
    if item is None:
        type_ = type_ or ctypes.c_char * len(block)
    else:
        type_ = type_ or (ctypes.c_char if item == 1 else ctypes.c_char * item)
        type_ = type_ * (len(block) // item)
    obj = _lay(type_, block)
    return _wrap(obj, _own_lock(obj))


# --- their wrappers


class _OwnLock(RLock):
    """The lock that a value or an array brings along."""

    def __init__(self, block: BufferWrapper) -> None:
        self._bind(block)


def _own_lock(obj: Any) -> RLock:
    """The lock beside the memory of an object; a new one when its memory is not ours."""
    block = getattr(obj, "_wrapper", None)
    return _OwnLock(block) if isinstance(block, BufferWrapper) else RLock()


def _wrap(obj: Any, lock: Any) -> Any:
    if isinstance(obj, ctypes._SimpleCData):
        is_number = type(obj) in _NUMBERS and isinstance(getattr(obj, "_wrapper", None), BufferWrapper)
        return (SynchronizedNumber if is_number else Synchronized)(obj, lock)
    if isinstance(obj, ctypes.Array):
        return (SynchronizedString if obj._type_ is ctypes.c_char else SynchronizedArray)(obj, lock)
    return _structure_wrapper(type(obj))(obj, lock)


class _Shared(_tasuki.Guarded, _standard.SynchronizedBase):  # type: ignore[type-arg]
    """What our wrappers do in their own way: each call that takes the lock is one native call, in which no signal handler
    can raise, and they can be pickled at any time."""

    _obj: Any
    _lock: Any

    def __init__(self, obj: Any, lock: Any) -> None:
        super().__init__(obj, lock)
        self._guard(obj, lock, obj._wrapper if isinstance(lock, _OwnLock) else None)

    def __reduce__(self) -> tuple[Any, ...]:
        block = getattr(self._obj, "_wrapper", None)
        if not isinstance(block, BufferWrapper):
            return synchronized, (self._obj, self._lock)
        own = isinstance(self._lock, _OwnLock)
        # Its own lock is there where the memory is; what its user chose about it travels along.
        return _rebuild, (_spelled(type(self._obj)), block, self._lock.on_owner_died if own else self._lock)

    def _tasuki_block(self) -> BufferWrapper:
        """What travels in MessagePack, where a value always has its own lock."""
        if not isinstance(self._lock, _OwnLock):
            raise TypeError(
                "a value with a lock of another object cannot be a handle for a program in another language"
            )
        block: BufferWrapper = self._obj._wrapper
        return block


def _property(name: str) -> property:
    """An attribute of the ctypes object, read and written under the lock."""
    return property(lambda self: self._get(name), lambda self, value: self._set(name, value))


class Synchronized(_Shared, _standard.Synchronized):  # type: ignore[type-arg]
    """A simple ctypes object with its lock."""

    value = _property("value")


class SynchronizedNumber(_tasuki.Number, Synchronized):
    """A number with its lock, and atomic operations, which do not take it."""

    def __init__(self, obj: Any, lock: Any) -> None:
        super().__init__(obj, lock)
        self._tie(obj._wrapper, obj._type_)


class SynchronizedArray(_tasuki.Items, _Shared, _standard.SynchronizedArray):  # type: ignore[type-arg]
    """An array with its lock, and atomic operations on its numbers, which do not take it."""

    def __init__(self, obj: Any, lock: Any) -> None:
        super().__init__(obj, lock)
        item = obj._type_
        if isinstance(getattr(obj, "_wrapper", None), BufferWrapper):
            self._tie(obj._wrapper, item._type_ if item in _NUMBERS else None, ctypes.sizeof(item))


class SynchronizedString(SynchronizedArray, _standard.SynchronizedString):
    """An array of characters with its lock."""

    value = _property("value")
    raw = _property("raw")


_structure_wrappers: weakref.WeakKeyDictionary[type, type] = weakref.WeakKeyDictionary()


def _structure_wrapper(type_: Any) -> Any:
    """The wrapper class for a Structure or Union: a property for each field."""
    wrapper = _structure_wrappers.get(type_)
    if wrapper is None:
        fields = {field[0]: _property(field[0]) for field in type_._fields_}
        wrapper = _structure_wrappers[type_] = type(f"Synchronized{type_.__name__}", (_Shared,), fields)
    return wrapper


# --- pickling


def _spelled(type_: Any) -> Any:
    """A type as it is pickled: those of arrays have no name of their own, so (type of the elements, length)."""
    if issubclass(type_, ctypes.Array) and type_._type_ * type_._length_ is type_:
        return _spelled(type_._type_), type_._length_
    return type_


def _type_of(spelled: Any) -> Any:
    """The reverse of `_spelled`."""
    if isinstance(spelled, tuple):
        item, length = spelled
        return _type_of(item) * length
    return spelled


def _rebuild(spelled: Any, block: BufferWrapper, lock: Any) -> Any:
    if isinstance(lock, str):
        policy, lock = lock, _OwnLock(block)
        lock.on_owner_died = policy
    return _wrap(_lay(spelled, block), lock)


def _reduce_ctype(obj: Any) -> Any:
    """Reduces any object of a type that has been used in shared memory: ours, the standard library's, or a plain one."""
    block = getattr(obj, "_wrapper", None)
    if isinstance(block, BufferWrapper):
        return _lay, (_spelled(type(obj)), block)
    if block is not None:
        return _standard.reduce_ctype(obj)  # type: ignore[attr-defined]
    return obj.__reduce_ex__(2)


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
