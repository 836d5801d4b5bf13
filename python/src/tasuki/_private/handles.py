"""How our objects travel inside pickles: the one place that knows about descriptors.

A handle is a record (bytes) and the descriptors it needs. There are three ways for them to travel:

- inside a put of a queue of ours, the queue carries the descriptors beside the message, unless those of some 280 messages
  wait there already, which is all that the kernel takes;
- while a process is started, they are inherited, through the interface of the standard `Popen` classes;
- in any other pickle (a pipe, a standard queue, a file) there is only a ticket: which descriptors of which process to
  reopen. It is good while that process lives and keeps the object.

A connection outside of ours is lent as the standard library's is: its descriptors wait in a thread of the sender.
"""

from __future__ import annotations

import errno
import os
import stat
import threading
import weakref
from multiprocessing import context, reduction

from tasuki import _tasuki
from tasuki._private import introducing  # noqa: F401  every object with owners travels, so this is where to start

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, Literal

__all__ = ("Owned", "close_inherited", "pack", "pack_connection", "unpack")

# The descriptors that this process inherited and that were used to open objects: close_inherited() closes them.
_inherited: set[int] = set()
_inherited_lock = threading.Lock()
# A thread that the child has not may have it.
os.register_at_fork(after_in_child=_inherited_lock._at_fork_reinit)  # type: ignore[attr-defined]


def pack(obj: Any) -> tuple[Any, ...]:
    """The state to pickle for `obj`, an instance of one of the native classes."""
    if _tasuki.is_carrying():
        return ("carried", _tasuki.carry(obj))
    popen = context.get_spawning_popen()
    if popen is not None:
        return _pack_for_child(obj, popen)
    return _pack_ticket(obj)


def unpack(obj: Any, state: tuple[Any, ...]) -> None:
    """Open `obj`, made by `__new__` only, from what `pack` returned."""
    kind, record, *more = state
    if kind == "carried":
        _tasuki.open_carried(obj, record)
    elif kind == "inherited":
        _unpack_in_child(obj, record, *more)
    elif kind == "ticket":
        _unpack_ticket(obj, record, *more)
    elif kind == "lent":
        _unpack_lent(obj, record, *more)
    elif kind == "stream":
        _unpack_stream(obj, record, *more)
    else:
        raise ValueError(f"not a tasuki handle: {kind!r}")


def pack_connection(obj: Any) -> tuple[Any, ...]:
    """The state to pickle for a connection, which may be closed as soon as it was sent, unlike other handles."""
    limits = obj._stream_limits
    if limits is not None:
        # What a descriptor becomes that goes to a child, or waits in this process until somebody asks for it.
        return ("stream", reduction.DupFd(obj.fileno()), obj.readable, obj.writable, *limits)
    if _tasuki.is_carrying():
        return ("carried", _tasuki.carry(obj))
    popen = context.get_spawning_popen()
    if popen is not None:
        obj.__dict__.setdefault("_tasuki_lent", []).append(_LetGo(popen))
        return _pack_for_child(obj, popen)
    table = _tasuki.Descriptors()
    record, descriptors = table.record(obj)
    return ("lent", record, {index: reduction.DupFd(fd) for index, fd in descriptors.items()})


class _LetGo:
    """Dropped when a connection is closed: closes the duplicates that a started process was given, which nobody else does if
    its class is not one of ours. While they are open, nobody sees the end."""

    def __init__(self, popen: Any) -> None:
        self._popen = weakref.ref(popen)

    def __del__(self) -> None:
        popen = self._popen()
        if popen is not None and hasattr(popen, "sentinel"):
            popen.__dict__.pop("_tasuki_descriptors", None)


def _unpack_lent(obj: Any, record: bytes, duplicates: dict[int, Any]) -> None:
    opened: dict[int, int] = {}
    try:
        for index, duplicate in duplicates.items():
            opened[index] = duplicate.detach()
        _tasuki.open_with(obj, record, opened)
    finally:
        for fd in opened.values():
            os.close(fd)


def _unpack_stream(obj: Any, duplicate: Any, *more: Any) -> None:
    obj._take_descriptor(duplicate.detach(), *more)


class Owned:
    """Base of what processes own: it travels with what the next owner is told of a death."""

    on_owner_died: Literal["raise", "warn", "ignore"]

    def __getstate__(self) -> Any:
        return self.on_owner_died, pack(self)

    def __setstate__(self, state: Any) -> None:
        self.on_owner_died, handle = state
        unpack(self, handle)


# --- while a process is started


def _pack_for_child(obj: Any, popen: Any) -> tuple[Any, ...]:
    # One table for all handles among the arguments: a thousand locks of one arena cost one descriptor. Our process
    # classes drop it when the child has been started (tasuki.context), else it goes with the Popen.
    state = popen.__dict__.get("_tasuki_descriptors")
    if state is None:
        from tasuki._private.carriers import Carriers

        popen.__dict__["_tasuki_descriptors"] = state = (_tasuki.Descriptors(), {}, Carriers(popen))
    table, duplicates, carriers = state
    record, descriptors = table.record(obj)
    for index, fd in descriptors.items():
        if index not in duplicates:
            # Once per descriptor: the standard library refuses to pass the same one twice.
            duplicates[index] = carriers.duplicate(fd)
    return ("inherited", record, {index: duplicates[index] for index in descriptors})


def _unpack_in_child(obj: Any, record: bytes, duplicates: dict[int, Any]) -> None:
    descriptors = {index: duplicate.detach() for index, duplicate in duplicates.items()}
    with _inherited_lock:
        for fd in descriptors.values():
            if fd not in _inherited:
                os.set_inheritable(fd, False)
                _inherited.add(fd)
    _tasuki.open_with(obj, record, descriptors)
    if isinstance(obj, _tasuki.Connection):
        # Its socket is nobody else's, and as long as it is open here, nobody sees the end.
        _close_sockets(descriptors.values())


def _close_sockets(descriptors: Iterable[int]) -> None:
    with _inherited_lock:
        for fd in descriptors:
            if fd in _inherited and stat.S_ISSOCK(os.fstat(fd).st_mode):
                os.close(fd)
                _inherited.remove(fd)


def close_inherited() -> None:
    """Called in a child that is about to run: every handle among its arguments has been opened."""
    with _inherited_lock:
        for fd in _inherited:
            os.close(fd)
        _inherited.clear()


# --- in any other pickle


class _Ticket:
    """What an object keeps so that its tickets are good for as long as it lives."""

    def __init__(self, obj: Any) -> None:
        self.pid = os.getpid()
        self.table = _tasuki.Descriptors()
        self.record, descriptors = self.table.record(obj)
        self.wanted = [(index, fd, _identity(fd)) for index, fd in descriptors.items()]


def _pack_ticket(obj: Any) -> tuple[Any, ...]:
    ticket = obj.__dict__.get("_tasuki_ticket")
    if ticket is None or ticket.pid != os.getpid():
        obj.__dict__["_tasuki_ticket"] = ticket = _Ticket(obj)
    wanted = [(index, fd, identity, _lend(fd, identity)) for index, fd, identity in ticket.wanted]
    return ("ticket", ticket.record, type(obj).__name__, ticket.pid, wanted)


def _identity(fd: int) -> tuple[int, int, int]:
    status = os.fstat(fd)
    return status.st_dev, status.st_ino, status.st_mode


def _unpack_ticket(obj: Any, record: bytes, name: str, pid: int, wanted: list[tuple[int, int, Any, Any]]) -> None:
    opened: dict[int, int] = {}
    try:
        for index, fd, identity, lent in wanted:
            opened[index] = _reopen(pid, fd, lent)
            if _identity(opened[index]) != identity:
                raise FileNotFoundError(f"descriptor {fd} of process {pid} is something else by now")
        _tasuki.open_with(obj, record, opened)
    except OSError as error:
        if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
            raise
        raise RuntimeError(
            f"cannot open this {name}: process {pid}, which pickled it, is gone or has it no more. "
            f"A {name} in a pickle is a ticket, good while its sender lives and keeps the object; "
            f"as an argument of a Process or through a tasuki.Queue it travels without that condition."
        ) from error
    finally:
        for fd in opened.values():
            os.close(fd)


def _reopen(pid: int, fd: int, lent: Any) -> int:
    if pid == os.getpid():
        return os.dup(fd)
    if lent is None:
        # Asks for no more than to be the same user.
        return os.open(f"/proc/{pid}/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    if lent != _TAKE:
        return int(lent.detach())
    return _tasuki.take_descriptor(pid, fd)


#: Says in a ticket that the receiver takes this descriptor out of the sender.
_TAKE = "take"


def _lend(fd: int, identity: tuple[int, int, int]) -> Any:
    """How a receiver gets at a descriptor that cannot be reopened by name: a queue's socket, and what can be polled."""
    if stat.S_ISREG(identity[2]):
        return None
    if _may_be_taken():
        return _TAKE
    # The standard library's way: a thread here that hands the descriptor over, once for each pickle.
    from multiprocessing import resource_sharer

    return resource_sharer.DupFd(fd)


_taking: bool | None = None


def _may_be_taken() -> bool:
    """Whether this system lets processes of one user take descriptors from each other."""
    global _taking
    if _taking is None:
        _taking = _try_taking()
    return _taking


def _try_taking() -> bool:
    try:
        mine, theirs = os.pipe()
        try:
            os.close(_tasuki.take_descriptor(os.getpid(), mine))
        finally:
            os.close(mine)
            os.close(theirs)
    except OSError:
        return False
    try:
        with open("/proc/sys/kernel/yama/ptrace_scope") as scope:
            return scope.read().strip() == "0"
    except OSError:
        return True
