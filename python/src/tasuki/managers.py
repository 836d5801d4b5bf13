"""Managers and their proxies: the standard library's, with a `SharedMemoryManager` that hands out memory of the engine."""

from __future__ import annotations

import contextlib
import multiprocessing.managers as _standard
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.managers import BaseManager, BaseProxy, SyncManager, Token

from tasuki import shared_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:  # for programs that evaluate annotations
    Any = object

__all__ = ["BaseManager", "BaseProxy", "SharedMemoryManager", "SyncManager", "Token"]


class SharedMemoryManager(_standard.SharedMemoryManager):
    """A manager that unlinks all the shared memory it handed out when it is shut down, or its `with` block ends.

    Its server is the standard library's, in a process of its own: also when this process is killed, the memory goes.
    """

    def SharedMemory(self, size: int) -> shared_memory.SharedMemory:
        """Returns new memory of `size` bytes that the manager unlinks."""
        with self._server() as track:
            memory = shared_memory.SharedMemory(create=True, size=size)
            track(memory)
        return memory

    def ShareableList(self, sequence: Iterable[Any] | None) -> shared_memory.ShareableList:
        """Returns a new list in shared memory that the manager unlinks."""
        with self._server() as track:
            items = shared_memory.ShareableList(sequence)
            track(items.shm)
        return items

    @contextlib.contextmanager
    def _server(self) -> Iterator[Callable[[shared_memory.SharedMemory], None]]:
        """A connection to the server, before anything is made, and what tells it of some memory."""

        def track(memory: shared_memory.SharedMemory) -> None:
            try:
                _standard.dispatch(connection, None, "track_segment", (memory.name,))  # type: ignore[attr-defined]
            except BaseException:
                memory.unlink()
                raise

        with self._Client(self._address, authkey=self._authkey) as connection:  # type: ignore[attr-defined]
            yield track


def __getattr__(name: str) -> Any:
    return getattr(_standard, name)
