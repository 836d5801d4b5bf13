"""Pickling with reducers, and descriptors that travel: the standard library's, but for descriptors through our pipes."""

from __future__ import annotations

import multiprocessing.reduction as _standard
from multiprocessing.reduction import DupFd, ForkingPickler, dump, recvfds, register, sendfds

# By their names in that module these become ours, once install() has put ours there.
from multiprocessing.reduction import recv_handle as _recv_handle
from multiprocessing.reduction import send_handle as _send_handle

__all__ = ["DupFd", "ForkingPickler", "dump", "recv_handle", "recvfds", "register", "send_handle", "sendfds"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:  # for programs that evaluate annotations
    Any = object


def send_handle(conn: Any, handle: int, destination_pid: int | None) -> None:
    """Sends a descriptor over a connection between processes of this machine."""
    send = getattr(conn, "_send_handle", None)
    if send is None or not send(handle):
        _send_handle(conn, handle, destination_pid)  # type: ignore[arg-type]


def recv_handle(conn: Any) -> int:
    """Receives a descriptor that `send_handle` sent."""
    receive = getattr(conn, "_recv_handle", None)
    handle: int | None = receive() if receive is not None else None
    return _recv_handle(conn) if handle is None else handle  # type: ignore[arg-type]


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
