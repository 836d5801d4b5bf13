"""What a program that is killed as a whole leaves in file systems: how it is marked, and how the next program sweeps it.

The standard library has helpers that unlink what a dead program left, but `kill -9` may hit them as well. Shared memory says in
an attribute who sees to its end (`keepers`); the temporary folder of a program has a file on which each of its processes
holds a lock (`hold_temporary_folder`), and the kernel drops that with the last one. So the next program finds what nobody alive
has, and never anything of another user, of a living program or of one that does not use tasuki.
"""

from __future__ import annotations

import fcntl
import os
import sys
from multiprocessing import process, resource_tracker, util

from tasuki import _tasuki

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ()

#: The file in a temporary folder on which its users hold a lock.
_LOCK = ".tasuki"

#: In the configuration that children inherit: the pid of the resource tracker that they share.
_TRACKER = "tasuki_tracker"

# The folders on which this process holds a lock, the descriptors that do, and of which file they are; a forked child has
# them, too.
_held: dict[str, tuple[int, tuple[int, int]]] = {}

_swept = False


def sweep() -> None:
    """Take away what killed programs left; once in a program, before it makes memory with a name or starts a process."""
    global _swept
    if not _swept:
        _swept = True
        if process.parent_process() is None:
            _tasuki.NamedMemory.sweep()
            _sweep_folders(os.environ.get("TMPDIR") or "/tmp")


def prepare(child: Any) -> None:
    """Before a process is started."""
    sweep()
    managers = sys.modules.get("multiprocessing.managers")
    target = getattr(getattr(child, "_target", None), "__self__", None)
    if managers is not None and isinstance(target, type) and issubclass(target, managers.BaseManager):
        # A manager's server, which puts its socket into the folder that it inherits.
        child._config["tempdir"] = hold_temporary_folder()


def keepers() -> list[int]:
    """The pids of those who see to it that this process's shared memory is unlinked; empty if they are not known."""
    tracker = _tracker()
    return [tracker, os.getpid()] if tracker is not None else []


def note_tracker(child: Any) -> None:
    """Tell a child that is a fresh interpreter which resource tracker it will have: ours."""
    child._config[_TRACKER] = _tracker()


def _tracker() -> int | None:
    inherited: int | None = _config().get(_TRACKER)
    if inherited is None:
        resource_tracker.ensure_running()
        # A process that was started otherwise uses its parent's tracker, and does not know who that is.
        inherited = getattr(resource_tracker._resource_tracker, "_pid", None)
    return inherited


def _config() -> dict[str, Any]:
    """What this process inherited from its parent, and its children will."""
    config: dict[str, Any] = process.current_process()._config  # type: ignore[attr-defined]
    return config


def hold_temporary_folder() -> str:
    """Take part in holding the folder in which the standard library puts this program's sockets; returns it."""
    folder = util.get_temp_dir()
    while not _is_held(folder):
        try:
            lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except FileNotFoundError:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            continue
        fcntl.flock(lock, fcntl.LOCK_SH)
        if os.fstat(lock).st_nlink:
            _held[folder] = lock, _identity(lock)
        else:
            # Another program swept it just then: the process that had held it was killed while this one started.
            os.close(lock)
    return folder


def _is_held(folder: str) -> bool:
    lock, identity = _held.get(folder, (-1, None))
    try:
        return _identity(lock) == identity
    except OSError:
        return False  # a daemon closed all descriptors


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def hold_inherited_folder() -> None:
    """In a child: take part in holding the folder that its parent has."""
    folder = _config().get("tempdir")
    if folder is not None and os.path.exists(os.path.join(folder, _LOCK)):
        hold_temporary_folder()


def _sweep_folders(where: str) -> None:
    try:
        entries = [entry for entry in os.scandir(where) if entry.name.startswith("pymp-")]
    except OSError:
        return
    for entry in entries:
        try:
            if entry.stat(follow_symlinks=False).st_uid == os.geteuid() and entry.is_dir(follow_symlinks=False):
                _remove_unless_held(entry.path)
        except OSError:
            continue


def _remove_unless_held(folder: str) -> None:
    lock = os.open(os.path.join(folder, _LOCK), os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The lock's file goes last: without it nobody would find what is left if this process were killed here.
        for name in os.listdir(folder):
            if name != _LOCK:
                os.unlink(os.path.join(folder, name))
        os.unlink(os.path.join(folder, _LOCK))
        os.rmdir(folder)
    finally:
        os.close(lock)
