"""What programs look at behind the standard objects: the semaphores and conditions that others are made of there.

Here a queue, an event or a barrier is one object of the engine. These are views of it, to be asked and to wait with:
nothing is taken or changed through them. Names that have no meaning here are listed in README.md.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ("Count", "Moment", "NoLock")


class Count:
    """A semaphore that counts something: `get_value()`, and the same below `_semlock`."""

    def __init__(self, value: Callable[[], int]) -> None:
        self._value = value

    def get_value(self) -> int:
        """How many there are."""
        return self._value()

    _get_value = get_value

    def _is_zero(self) -> bool:
        return self._value() == 0

    @property
    def _semlock(self) -> Count:
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__}(value={self._value()})>"


class NoLock:
    """What stands for a lock that is not needed: everybody may have it at any time."""

    def acquire(self, block: bool = True, timeout: float | None = None) -> bool:
        """Do nothing, successfully."""
        return True

    def release(self) -> None:
        """Do nothing."""

    def __enter__(self) -> bool:
        return True

    def __exit__(self, *exception: object) -> None:
        """Do nothing."""


class Moment(NoLock):
    """A condition for something that the engine tells of by itself: `wait` returns as soon as that is so.

    Its lock is not needed, and there is nobody whom a `notify` has to wake.
    """

    def __init__(self, wait: Callable[[float | None], Any]) -> None:
        self._wait = wait

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is so, at most for `timeout` seconds; returns whether it is."""
        return bool(self._wait(timeout))

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        """Wait until the predicate is true, which it has become when this condition is."""
        return predicate() or (self.wait(timeout) and predicate())

    def notify(self, n: int = 1) -> None:
        """Do nothing: who waits is woken by what happens."""

    def notify_all(self) -> None:
        """Do nothing: who waits is woken by what happens."""
