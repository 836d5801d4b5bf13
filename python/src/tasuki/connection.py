"""Connections: pipes through shared memory, and sockets that speak the standard library's wire.

`Pipe` makes the two ends of a pipe between processes of one machine. `Listener` and `Client` make connections over
sockets, to programs that use the standard library too. Both are a `Connection`, which is one of the standard library's.
"""

from __future__ import annotations

import multiprocessing.connection as _multiprocessing_connection
import math
from collections.abc import Iterable
from multiprocessing import util

from tasuki import _tasuki, context
from tasuki._private import handles, leftovers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from tasuki.context import Codec
else:  # for programs that evaluate annotations
    Any = object
    Codec = str
    SupportsIndex = int

__all__ = ["Client", "Connection", "Listener", "Pipe", "wait"]

_standard: Any = _multiprocessing_connection


class Connection(_tasuki.Connection, _multiprocessing_connection.Connection):  # type: ignore[misc, type-arg]
    """One end of a connection. `Connection(descriptor)` is one over any socket or pipe, in the standard library's form.

    `max_message` is how many bytes a message may have that is received, and `message_timeout` how many seconds it may
    take from its first byte to its last; a peer that does not keep to it has ended the connection.
    """

    def __init__(
        self,
        handle: SupportsIndex,
        readable: bool = True,
        writable: bool = True,
        *,
        max_message: int | None = None,
        message_timeout: float | None = None,
    ) -> None:
        descriptor = handle.__index__()
        if descriptor < 0:
            raise ValueError("invalid handle")
        if not readable and not writable:
            raise ValueError("at least one of `readable` and `writable` must be True")
        self._take_descriptor(descriptor, bool(readable), bool(writable), max_message, message_timeout)

    # What the standard class keeps, for programs that look at its private parts.

    @property
    def _handle(self) -> int | None:  # type: ignore[override]
        return None if self.closed else self.fileno()

    @_handle.setter
    def _handle(self, handle: None) -> None:
        assert handle is None, "a connection's descriptor is given once"
        self._forget()

    @property
    def _readable(self) -> bool:  # type: ignore[override]
        return self.readable

    @property
    def _writable(self) -> bool:  # type: ignore[override]
        return self.writable

    def __del__(self) -> None:
        """Nothing: the native half closes itself. The standard class has one that would look at its own descriptor."""

    def close(self) -> None:
        """Closes this end. The other one sees the end when no process has a copy of this one any more."""
        super().close()
        # What was duplicated for children that have been started.
        self.__dict__.pop("_tasuki_lent", None)

    def __getstate__(self) -> Any:
        return self._codec, handles.pack_connection(self)

    def __setstate__(self, state: Any) -> None:
        self._codec, handle = state
        handles.unpack(self, handle)

    def __repr__(self) -> str:
        kind = {(True, True): "both ways", (True, False): "to receive", (False, True): "to send"}
        state = "closed" if self.closed else kind.get((self.readable, self.writable), "unusable")
        return f"<{type(self).__module__}.{type(self).__qualname__} object at {id(self):#x}, {state}>"


class Listener(_multiprocessing_connection.Listener):
    """Listens at an address for connections, from programs of tasuki and of the standard library.

    With an `authkey` both ends must have the same one. Who connects and does not prove it within `handshake_timeout`
    seconds is sent away, and keeps nobody else waiting meanwhile. `max_message` and `message_timeout` are those of
    the connections.
    """

    def __init__(
        self,
        address: Any = None,
        family: str | None = None,
        backlog: int = 1,
        authkey: bytes | None = None,
        *,
        handshake_timeout: float | None = 20.0,
        max_message: int | None = None,
        message_timeout: float | None = None,
    ) -> None:
        family = family or (address and _standard.address_type(address)) or _standard.default_family
        if not address and family == "AF_UNIX":
            # Not an abstract name, which would leave nothing, but which every user of the machine can connect to.
            leftovers.hold_temporary_folder()
        address = address or _standard.arbitrary_address(family)
        _check(address, family, authkey)
        native = _tasuki.Listener(address, backlog, authkey, handshake_timeout, max_message, message_timeout)
        self._listener: Any = native
        self._authkey = authkey
        self._limits = (max_message, message_timeout)
        self._last_accepted: Any = None
        # Removes the socket's file at the end of the program, too. Only in this process, as Finalize sees to.
        self._finalize = util.Finalize(self, native.close, exitpriority=0)

    def accept(self) -> Connection:
        """Waits for a connection and returns it. AuthenticationError: the peer's key is another one; accept again."""
        if self._listener is None:
            raise OSError("listener is closed")
        connection = Connection.__new__(Connection)
        self._last_accepted = self._listener.accept(connection)
        return connection

    def close(self) -> None:
        """Stops listening."""
        listener, self._listener = self._listener, None
        if listener is not None:
            self._finalize.cancel()
            listener.close()

    @property
    def address(self) -> Any:
        """The address at which it listens, as Client takes it."""
        return self._listener.address

    @property
    def last_accepted(self) -> Any:
        """The address from which the last accepted connection came; empty for one over AF_UNIX."""
        return self._last_accepted


def Client(
    address: Any,
    family: str | None = None,
    authkey: bytes | None = None,
    *,
    max_message: int | None = None,
    message_timeout: float | None = None,
) -> Connection:
    """Returns a connection to the listener at an address."""
    _check(address, family or _standard.address_type(address), authkey)
    connection = Connection.__new__(Connection)
    _tasuki.connect(connection, address, authkey, max_message, message_timeout)
    return connection


def _check(address: Any, family: str, authkey: bytes | None) -> None:
    if family not in _standard.families:
        raise ValueError(f"Family {family} is not recognized.")
    if _standard.address_type(address) != family:
        raise ValueError(f"{address!r} is no address of family {family}")
    if authkey is not None and not isinstance(authkey, bytes):
        raise TypeError("authkey should be a byte string")


def Pipe(duplex: bool = True, *, codec: Codec = "pickle") -> tuple[Connection, Connection]:
    """Returns the two ends of a pipe, for processes of one machine.

    Both ends send and receive, unless `duplex` is false: then the first one receives what the second one sends. `codec` says how
    objects are written for which the engine has no form of its own; Rust reads "msgpack".
    """
    first, second = Connection.__new__(Connection), Connection.__new__(Connection)
    if codec != "pickle":
        first._codec = second._codec = codec
    _tasuki.pipe(first, second, bool(duplex))
    return first, second


def wait(object_list: Iterable[Any], timeout: float | None = None) -> list[Any]:
    """Waits until one of the objects is ready and returns those that are, in their order.

    An object is a connection, a descriptor (`Process.sentinel`), or whatever has one (`fileno`): a socket, a queue of ours. Ready
    means that receiving does not block. The list is empty if nothing was ready within `timeout` seconds.
    """
    objects = list(object_list)
    deadline = None if timeout is None else _tasuki.deadline(timeout)  # type: ignore[arg-type]
    while True:
        ready: list[Any] = []
        asked: dict[int, Any] = {}
        readers: list[int] = []
        ends: list[int] = []
        pipes: set[int] = set()
        longest = math.inf
        for obj in objects:
            # An end of a pipe tells by a look whether it is ready, and else where it can be heard: a message, or the end.
            sound = obj._arm() if isinstance(obj, _tasuki.Connection) else None
            if isinstance(sound, bool):
                if sound:
                    ready.append(obj)
                else:
                    longest = _SOON
                continue
            if sound is not None:
                number, end = sound
            elif (within := getattr(type(obj), "_fileno_within", None)) is None:
                number, end = _fileno(obj), None
            else:
                # Another process that was stopped inside a queue keeps nobody from hearing of the others, or of the time.
                number, end = within(obj, _SOON), None
                if number is None:
                    longest = _SOON
                    continue
            if number in asked:
                raise KeyError(f"{obj!r} (FD {number}) is already registered")
            asked[number] = obj
            readers.append(number)
            if end is not None:
                asked[end] = obj
                ends.append(end)
                pipes.update((number, end))
                longest = min(longest, _LOOK_AGAIN)
        left = 0.0 if ready else math.inf if deadline is None else deadline - _tasuki.deadline()
        left = min(left, longest)
        found = _poll(readers, ends, None if left == math.inf else left) if asked or not ready else []
        # A pipe may be heard for nothing: for a message that its sender did not live to finish.
        ready += [asked[number] for number in found if number not in pipes or asked[number]._arm() is True]
        if ready or (deadline is not None and _tasuki.deadline() >= deadline):
            return ready if len(ready) < 2 else [obj for obj in objects if obj in ready]


#: A pipe is to be asked again after this many seconds: whoever was to make itself heard may have been killed before.
_LOOK_AGAIN = 0.5
#: And after this many when somebody is just sending on it.
_SOON = 0.001


def _poll(readers: list[int], ends: list[int], left: float | None) -> list[int]:
    """The descriptors that are readable, or whose other end is gone, waiting `left` seconds for one at most."""
    selector_class = _standard._WaitSelector
    poll = getattr(selector_class, "_selector_cls", None)
    if selector_class.__module__ == "selectors" and getattr(poll, "__module__", None) == "select":
        return _tasuki.poll(readers, left, ends)
    # A program put its own selector in that place, so that others of its tasks run meanwhile. None has a word for ends
    # alone; they are found when pipes are asked again.
    with selector_class() as selector:
        for number in readers:
            selector.register(number, 1)  # EVENT_READ
        return [key.fd for key, _ in selector.select(left)]


def _fileno(obj: Any) -> int:
    try:
        number = obj if isinstance(obj, int) else int(obj.fileno())
    except (AttributeError, TypeError, ValueError):
        raise ValueError(f"Invalid file object: {obj!r}") from None
    if number < 0:
        raise ValueError(f"Invalid file descriptor: {number}")
    return number


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)


if context._is_installed:
    from tasuki._private import installing

    installing.install_connection()
