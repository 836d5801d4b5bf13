"""What the processes of several test files do: importable, since a process that is spawned finds it by name."""

from __future__ import annotations

import ctypes
import time
from typing import Any


class Point(ctypes.Structure):
    _fields_ = [("x", ctypes.c_int), ("y", ctypes.c_double)]


class Bomb:
    """It can be pickled, and not be made again."""

    def __reduce__(self) -> tuple[object, ...]:
        return _explode, ()


def _explode() -> None:
    raise ZeroDivisionError


def hold(lock: Any, ready: Any) -> None:
    """Holds a lock until killed; `ready` is set when it has it."""
    lock.acquire()
    ready.set()
    time.sleep(1000)


def put_forever(q: Any) -> None:
    while True:
        q.put(b"m" * 100)


def get_forever(q: Any) -> None:
    while True:
        q.get()


def kill_workers(ctx: Any, q: Any) -> None:
    """Kills those who put and those who get, at whatever they are doing, several times."""
    for _ in range(5):
        victims = [ctx.Process(target=work, args=(q,), daemon=True) for work in (put_forever, get_forever)]
        for process in victims:
            process.start()
        time.sleep(0.15)
        for process in victims:
            process.kill()
        for process in victims:
            process.join(120)
