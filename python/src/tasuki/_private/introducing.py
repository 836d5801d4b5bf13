"""A process introduces itself to those who may survive it: by its name, and, when it ends, by saying so.

The name is the one that the process has when tasuki is loaded in it, or when it starts as a child; a later change of
`current_process().name` is not followed. Loaded with the first module whose objects can have owners.
"""

from __future__ import annotations

import threading
from multiprocessing import process, util

from tasuki import _tasuki

__all__ = ()


def _introduce() -> None:
    # The standard library takes names that cannot be written as UTF-8.
    name = process.current_process().name
    _tasuki.set_process_name(name.encode("utf-8", "backslashreplace").decode("utf-8"))


def _introduce_child(_: object) -> None:
    """Run in every child of the standard machinery, whoever started it, before its own work."""
    _introduce()
    if process.current_process()._config.get("tempdir") is not None:  # type: ignore[attr-defined]
        from tasuki._private import leftovers

        leftovers.hold_inherited_folder()
    # Forked children end by os._exit. After everybody else's finalizers: those may still use locks.
    util.Finalize(None, _leave, exitpriority=-(2**31))


def _leave() -> None:
    me = threading.current_thread()
    if all(thread.daemon or thread is me for thread in threading.enumerate()):
        _tasuki.note_leaving()
    # Else the process lives on for its other threads, and may yet be killed.


_introduce()
util.register_after_fork(_introduce_child, _introduce_child)
