"""What a survivor is told of a process that ended with something in its hands: as an exception, or as a warning."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ("OwnerDied", "OwnerDiedWarning")


class _Death(Exception):
    """Who died, and when: what the exception and the warning have in common."""

    #: The process that ended; 0 when nobody can tell any more.
    pid: int
    #: The name of that process, as in `current_process().name`, cut to 24 bytes; empty when it is not known.
    name: str
    #: When a survivor noticed it, in seconds as from `time.time()`: within about half a second if anybody was waiting.
    when: float
    #: Whether the process ended by itself, without giving back what it held, rather than being killed.
    left_normally: bool

    def __init__(
        self, message: str, pid: int = 0, name: str = "", when: float = 0.0, left_normally: bool = False
    ) -> None:
        super().__init__(message)
        self.pid = pid
        self.name = name
        self.when = when
        self.left_normally = left_normally

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (*self.args, self.pid, self.name, self.when, self.left_normally)


class OwnerDied(_Death, RuntimeError):
    """The process that had the lock ended without releasing it; what the lock protects may be half changed.

    Raised once for each death, to the first one who asks for the lock afterwards; the lock is free then.
    """


class OwnerDiedWarning(_Death, RuntimeWarning):
    """As OwnerDied, where the policy is to warn: the one who is told has what it asked for."""


# These are names of the package: what tracebacks show, and what a pickle says.
OwnerDied.__module__ = OwnerDiedWarning.__module__ = "tasuki"
