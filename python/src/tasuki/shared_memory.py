"""Shared memory with a name, on the engine: `SharedMemory` and `ShareableList`.

Byte for byte what the standard library makes, so that its processes and ours open each other's. What differs is when
things end: memory that is created is reserved, or the call fails; opening registers nothing and so destroys nothing;
closing leaves the views that somebody still has.
"""

from __future__ import annotations

import multiprocessing.shared_memory as _standard
import operator
import os
from collections.abc import Iterable
from multiprocessing import process, resource_tracker, util

from tasuki import _tasuki, context
from tasuki._private import leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:  # for programs that evaluate annotations
    Any = object

__all__ = ["SharedMemory", "ShareableList"]


class SharedMemory(_standard.SharedMemory):
    """Memory that every process of this user can open by its name.

    With `create` it is made, `size` bytes of zeros, under a new name if none is given; else it is opened as it is. All of it
    is reserved, so that a full /dev/shm is an OSError here and not a SIGBUS later.

    What is created is registered with the standard library's resource tracker, which unlinks it when this process and
    those that it started are gone, unless `track` is False; if the tracker is killed as well, the next program does. What is opened is registered only if `track` is True: there is
    no need to unregister it, as programs do that know how the standard library treats them.
    """

    _name: Any = None
    _mmap: Any = None
    _buf: Any = None
    _size: int
    _flags: int
    _mode: int
    _prepend_leading_slash: bool

    def __init__(
        self, name: str | None = None, create: bool = False, size: int = 0, *, track: bool | None = None
    ) -> None:
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if create:
            if size == 0:
                raise ValueError("'size' must be a positive number different from zero")
            self._flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        if name is None and not self._flags & os.O_EXCL:
            raise ValueError("'name' can only be None if create=True")
        self._map(name, size, None, track)

    @classmethod
    def _holding(cls, name: str | None, contents: bytes) -> SharedMemory:
        """New memory that has these contents from the moment at which it has a name."""
        self = cls.__new__(cls)
        self._flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
        self._map(name, len(contents), contents, None)
        return self

    def _map(self, name: str | None, size: int, contents: bytes | None, track: bool | None) -> None:
        leftovers.sweep()
        # Before there is anything to be unlinked, so that it can be said of the memory who sees to that.
        tracked = bool(self._flags & os.O_CREAT) if track is None else track
        keepers = leftovers.keepers() if tracked and self._flags & os.O_CREAT else []
        while True:
            given = name is not None
            self._name = _slashed(name, self._prepend_leading_slash) if name is not None else _make_filename()
            try:
                created = self._open_or_create(size, contents, keepers)
                break
            except FileExistsError:
                if given:
                    raise
        self._size = len(self._mmap)
        self._buf = memoryview(self._mmap)
        self._track = created if track is None else track
        if self._track:
            try:
                _register(self._name)
            except BaseException:
                if created:
                    _tasuki.NamedMemory.unlink(self._name)
                raise

    def _open_or_create(self, size: int, contents: bytes | None, keepers: list[int]) -> bool:
        """Maps the memory as the flags say; whether it was created."""
        while True:
            if not self._flags & os.O_EXCL:
                try:
                    self._mmap = _tasuki.NamedMemory.open(self._name)
                    return False
                except FileNotFoundError:
                    if not self._flags & os.O_CREAT:
                        raise
            try:
                self._mmap = _tasuki.NamedMemory.create(self._name, size, self._mode, keepers, contents)
                return True
            except FileExistsError:
                if self._flags & os.O_EXCL:
                    raise

    def __del__(self) -> None:
        """Does nothing: the memory stays as long as a view of it does, and goes with the last one."""

    def close(self) -> None:
        """Let go of the memory; it stays mapped until the last view of it is gone.

        `buf` itself is released. Views that were made of it, by slicing or by numpy, go on working.
        """
        if self._buf is not None:
            try:
                self._buf.release()
            except BufferError:
                pass  # a view was made of it
            self._buf = None
        self._mmap = None

    def unlink(self) -> None:
        """Take the name away; who has the memory keeps it. The second time it is a FileNotFoundError."""
        if self._name:
            _tasuki.NamedMemory.unlink(_without_nul(self._name))
            _forget(self._name)


class ShareableList(_standard.ShareableList):  # type: ignore[type-arg]
    """A list of a fixed number of items in shared memory: int of 64 bits, float, bool, str, bytes and None.

    An item can be replaced by any other that needs no more room than it was made with: 8 bytes, or for str and bytes the next
    multiple of 8 above its length. There is no lock inside; have one where there are several writers.
    """

    shm: SharedMemory

    def __init__(self, sequence: Iterable[Any] | None = None, *, name: str | None = None) -> None:
        if sequence is None and name is not None:
            self.shm = SharedMemory(name)
        else:
            image = _tasuki.list_image([] if sequence is None else list(sequence))
            self.shm = SharedMemory._holding(name, image)
        self._list_len = len(self)

    @property
    def _memory(self) -> _tasuki.NamedMemory:
        if self.shm._mmap is None:
            raise ValueError("the shared memory of this list is closed")
        return self.shm._mmap  # type: ignore[no-any-return]

    def _index(self, position: Any, message: str) -> int:
        index = operator.index(position)
        if index < 0:
            index += self._list_len
        if not 0 <= index < self._list_len:
            raise IndexError(message)
        return index

    def __getitem__(self, position: Any) -> Any:
        return self._memory.list_get(self._index(position, "index out of range"))

    def __setitem__(self, position: Any, value: Any) -> None:
        self._memory.list_set(self._index(position, "assignment index out of range"), value)

    def __len__(self) -> int:
        return self._memory.list_len()

    def __reduce__(self) -> tuple[Any, ...]:
        return _open_list, (type(self), self.shm.name)

    def _get_packing_format(self, position: int) -> str:
        return self._memory.list_format(self._index(position, "Requested position out of range."))


def _open_list(cls: type[ShareableList], name: str) -> ShareableList:
    return cls(name=name)


def _make_filename() -> str:
    """A new name, as the standard library makes them."""
    return f"/psm_{os.urandom(4).hex()}"


def _slashed(name: str, slash: bool) -> str:
    return _without_nul("/" + name if slash else name)


def _without_nul(name: str) -> str:
    if "\0" in name:
        raise ValueError("embedded null character")
    return name


# --- the resource tracker of the standard library

# The names that this process has registered and not seen unlinked, and its pid: a fork's child has none.
_registered: set[str] = set()
_registered_by = 0
_sweep_at = 64


def _register(name: str) -> None:
    global _registered_by, _sweep_at
    name = _bare(name)
    if not _can_be_registered(name):
        return
    if _registered_by != os.getpid():
        _registered_by = os.getpid()
        _registered.clear()
        # After the children of this process have been joined.
        util.Finalize(None, _end, exitpriority=-10)
    if len(_registered) >= _sweep_at:
        _forget_unlinked()
        _sweep_at = 2 * len(_registered) + 64
    resource_tracker.register(name, "shared_memory")
    _registered.add(name)


def _forget(name: str) -> None:
    """Tell the tracker that nothing has this name any more, whoever registered it."""
    name = _bare(name)
    _registered.discard(name)
    # Without a tracker here nobody of this family of processes registered anything.
    if _can_be_registered(name) and getattr(resource_tracker._resource_tracker, "_fd", None) is not None:
        # To unregister what is not registered makes the tracker print a traceback; to register it twice does nothing.
        resource_tracker.register(name, "shared_memory")
        resource_tracker.unregister(name, "shared_memory")


def _end() -> None:
    """Leave what has a name to the tracker, unless the tracker was told to forget it: this program was not killed."""
    _forget_unlinked()
    if process.parent_process() is None:
        for name in _registered:
            _tasuki.NamedMemory.keep(name)


def _forget_unlinked() -> None:
    """Forget the names that a process with another tracker has unlinked, else ours would complain about them."""
    for name in list(_registered):
        if not _tasuki.NamedMemory.exists(name):
            _forget(name)


def _bare(name: str) -> str:
    return "/" + name.lstrip("/")


def _can_be_registered(name: str) -> bool:
    """The tracker reads lines of ASCII with colons between the fields."""
    return name.isascii() and name.isprintable() and ":" not in name and name == name.strip()


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)


if context._is_installed:
    from tasuki._private import installing

    installing.install_shared_memory()
