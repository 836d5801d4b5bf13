"""numpy arrays in shared memory: `tasuki.shared_array(shape, dtype)`. Loaded at its first use; nothing else needs numpy.

It is a folder of its own because the modules beside it have the standard library's names and import without numpy.

A `SharedArray` is a numpy array whose memory has no name and belongs to everybody who has a view of it, in any process:
it goes as an argument of a process or through a queue as a handle of a few bytes, views and slices too, and is gone with
the last of them. What numpy computes from it is an ordinary array.
"""

from __future__ import annotations

import math
from operator import index
from typing import Any

try:
    import numpy
except ImportError as error:
    raise ImportError("tasuki.shared_array needs numpy: pip install numpy") from error

from tasuki.heap import BufferWrapper
from tasuki.sharedctypes import _OwnLock

__all__ = ["SharedArray", "shared_array", "shared_array_from"]


def shared_array(shape: Any, dtype: Any = float) -> SharedArray:
    """Returns a new numpy array of zeros in shared memory, which travels to other processes without being copied.

    Raises MemoryError when there is not so much memory, and TypeError for a dtype that has Python objects in it.
    """
    dtype = numpy.dtype(dtype)
    if dtype.hasobject:
        raise TypeError(f"an array of {dtype} cannot be shared: Python objects live in one process")
    if dtype.itemsize == 0:
        raise TypeError(f"an array of {dtype} cannot be shared: its elements have no bytes")
    # Not numpy's integers, which wrap.
    shape = tuple(map(index, shape)) if numpy.iterable(shape) else (index(shape),)
    if min(shape, default=0) < 0:
        raise ValueError("negative dimensions are not allowed")
    count = math.prod(shape)
    block = BufferWrapper.__new__(BufferWrapper)
    try:
        block._create_array(_element(dtype), dtype.itemsize, count)
    except OverflowError:
        raise MemoryError(f"an array of {count} elements does not fit in memory") from None
    return _view(SharedArray, block, dtype, shape, None, 0)  # type: ignore[no-any-return]


def shared_array_from(data: Any, dtype: Any = None) -> SharedArray:
    """Returns a numpy array in shared memory with a copy of `data`: an array, or what numpy makes one of."""
    data = numpy.asarray(data, dtype)
    shared = shared_array(data.shape, data.dtype)
    shared[...] = data
    return shared


class SharedArray(numpy.ndarray):  # type: ignore[type-arg]
    """A numpy array in shared memory, or a view of one. Make it with `tasuki.shared_array`."""

    _block: BufferWrapper | None = None

    def __array_finalize__(self, origin: Any) -> None:
        # A view has its origin's memory. But numpy also makes copies, and views of copies, in the origin's name.
        block = getattr(origin, "_block", None)
        if block is not None and not self.flags.owndata:
            self._block = block
            if getattr(self.base, "_block", None) is not block and self._place() is None:
                self._block = None

    def get_lock(self) -> Any:
        """The lock beside the memory: the same for all views in all processes, and for Rust's `Array`."""
        return _OwnLock(self._shared())

    def _shared(self) -> BufferWrapper:
        if self._block is None or self._place() is None:
            raise TypeError("this array is a copy in private memory: make one with tasuki.shared_array")
        return self._block

    def _place(self) -> int | None:
        """Where in the shared memory the first element lies; None when not all of this array lies there."""
        if self._block is None:
            return None
        address: int = self.__array_interface__["data"][0]
        offset = address - self._block._address
        if self.size == 0:
            return min(max(offset, 0), len(self._block))
        steps = [(length - 1) * stride for length, stride in zip(self.shape, self.strides, strict=True)]
        low, high = sum(step for step in steps if step < 0), sum(step for step in steps if step > 0)
        if offset + low < 0 or offset + high + self.itemsize > len(self._block):
            return None
        return offset

    # --- travelling

    def __reduce_ex__(self, protocol: Any) -> Any:
        offset = self._place()
        if offset is None:
            return self.view(numpy.ndarray).__reduce_ex__(protocol)
        return _view, (type(self), self._block, self.dtype, self.shape, self.strides, offset)

    def __reduce__(self) -> Any:
        return self.__reduce_ex__(2)

    def _tasuki_block(self) -> BufferWrapper:
        """What travels in MessagePack: the memory, as an array of one dimension."""
        block = self._shared()
        if self._place() != 0 or self.nbytes != len(block) or not self.flags.c_contiguous:
            raise TypeError(
                "MessagePack carries a shared array whole: a part of it is not a handle for a program in another language"
            )
        return block

    # --- what is computed from it is an ordinary array

    def __array_wrap__(self, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
        return array[()] if return_scalar else _plain(array)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, out: Any = (), **options: Any) -> Any:
        if out:
            options["out"] = tuple(map(_ndarray, out))
        result = getattr(ufunc, method)(*map(_ndarray, inputs), **options)
        if not out or result is NotImplemented:
            return result
        # Who names an output gets that object.
        results = result if isinstance(result, tuple) else (result,)
        named = tuple(mine if theirs is None else theirs for mine, theirs in zip(results, out, strict=True))
        return named if isinstance(result, tuple) else named[0]

    def __array_function__(self, function: Any, types: Any, args: Any, options: Any) -> Any:
        result = super().__array_function__(function, types, args, options)
        return tuple(map(_plain, result)) if type(result) is tuple else _plain(result)

    def __getitem__(self, key: Any) -> Any:
        return _plain(super().__getitem__(key))

    def ravel(self, *args: Any, **options: Any) -> Any:
        return _plain(super().ravel(*args, **options))

    def reshape(self, *args: Any, **options: Any) -> Any:
        return _plain(super().reshape(*args, **options))


def _computed(name: str) -> Any:
    method = getattr(numpy.ndarray, name)

    def call(self: Any, *args: Any, **options: Any) -> Any:
        return method(self.view(numpy.ndarray), *args, **options)

    call.__name__, call.__doc__ = name, method.__doc__
    return call


for _name in (
    "__copy__ __deepcopy__ all any argmax argmin argpartition argsort astype choose clip compress conj conjugate copy cumprod "
    "cumsum dot flatten max mean min nonzero prod repeat round searchsorted std sum take trace var"
).split():
    setattr(SharedArray, _name, _computed(_name))


def _ndarray(array: Any) -> Any:
    return array.view(numpy.ndarray) if isinstance(array, SharedArray) else array


def _plain(result: Any) -> Any:
    """A result as numpy's own class, unless it is a view of shared memory."""
    if type(result) is SharedArray and result._block is None:
        return result.view(numpy.ndarray)
    return result


def _view(type_: Any, block: BufferWrapper, dtype: Any, shape: Any, strides: Any, offset: int) -> Any:
    """The array in a block; numpy checks that it lies inside."""
    array = numpy.ndarray.__new__(type_, shape, dtype, block, offset, strides)  # type: ignore[arg-type]
    array._block = block
    return array


def _element(dtype: Any) -> int:
    """The engine's number for what an element is; Rust opens an integer or a float only as what it is."""
    kind = {"i": 0x10, "u": 0x20, "f": 0x30}.get(dtype.kind)
    return 0 if kind is None or not dtype.isnative else kind + dtype.itemsize
