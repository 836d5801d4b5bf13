"""More descriptors for a child than a fork server passes on: sockets in which the others wait.

The standard fork server passes 251 descriptors to a child at most. From `MOST` on ours go into a socket, as messages with a
descriptor each, and the child inherits that socket. The kernel keeps what is in it, whoever closes the other end.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from typing import Any

__all__ = ("Carriers",)

#: So many descriptors go to a child each by itself; the rest is for others than us.
MOST = 120
#: So many wait in one socket; the kernel has room for about twice as many.
IN_ONE_SOCKET = 120


class Carriers:
    """What one child that is being started gets, in as few descriptors as need be."""

    def __init__(self, popen: Any) -> None:
        self._popen = popen
        self._count = 0
        self._sockets: list[socket.socket] = []
        self._carrier: Any = None

    def duplicate(self, fd: int) -> Any:
        """What to pickle for a descriptor: an object whose `detach` gives it in the child."""
        popen = self._popen
        self._count += 1
        if popen.method != "forkserver" or self._count <= MOST:
            return popen.DupFd(popen.duplicate_for_child(fd))
        import socket

        place = (self._count - MOST - 1) % IN_ONE_SOCKET
        if place == 0:
            ours, childs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._sockets += (ours, childs)  # open until the child has them
            self._carrier = _Carrier(popen.DupFd(popen.duplicate_for_child(childs.fileno())))
        socket.send_fds(self._sockets[-2], [place.to_bytes(4, "little")], [fd])
        return _Carried(self._carrier, place)

    def __del__(self) -> None:
        # The child has been started, or is not going to be.
        for end in self._sockets:
            end.close()


class _Carrier:
    """The child's end of a socket."""

    def __init__(self, duplicate: Any) -> None:
        self._duplicate = duplicate
        self._taken: dict[int, int] = {}
        self._socket: socket.socket | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return _Carrier, (self._duplicate,)

    def take(self, place: int) -> int:
        """The descriptor with this place, as often as it is asked for."""
        import socket

        if self._socket is None:
            self._socket = socket.socket(fileno=self._duplicate.detach())
            self._socket.setblocking(False)
        while place not in self._taken:
            data, fds, _, _ = socket.recv_fds(self._socket, 4, 1)
            if not data or not fds:
                raise RuntimeError("the descriptors of this process's arguments did not arrive: too many are open")
            self._taken[int.from_bytes(data, "little")] = fds[0]
        return self._taken[place]

    def __del__(self) -> None:
        if self._socket is not None:
            self._socket.close()


class _Carried:
    """Stands for a descriptor that waits in a socket."""

    def __init__(self, carrier: _Carrier, place: int) -> None:
        self._carrier = carrier
        self._place = place

    def detach(self) -> int:
        """The descriptor, in the child."""
        return self._carrier.take(self._place)
