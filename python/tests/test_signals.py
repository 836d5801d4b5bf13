"""Exceptions from signal handlers, at any moment: no lock stays held and nothing is torn, as with threads' locks.

A timer fires into a loop of one operation, again and again; the handler raises wherever the loop is. Then the object is
looked at. `TASUKI_STORM_ROUNDS` makes it longer.
"""

from __future__ import annotations

import ctypes
import os
import random
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tasuki

#: So many exceptions hit each operation. The standard library's `with lock:` fails within the first ten.
RAISED = 20 * int(os.environ.get("TASUKI_STORM_ROUNDS", "40"))


class Struck(Exception):
    """What the signal handler raises."""


def _strike(_number: int, _frame: object) -> None:
    raise Struck


@pytest.fixture(autouse=True)
def struck() -> Iterator[None]:
    before = signal.signal(signal.SIGALRM, _strike)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def hammer(operation: Callable[[], object], check: Callable[[], object]) -> None:
    """Repeats the operation until a signal strikes in it, then checks, many times."""
    rng = random.Random(1)
    for _ in range(RAISED):
        delay = rng.uniform(1e-6, 2e-4)
        try:
            signal.setitimer(signal.ITIMER_REAL, delay)
            while True:
                operation()
        except Struck:
            pass
        check()


def _is_free(lock: Any) -> None:
    """Looked at from another thread, for whom an RLock that we hold is not free."""
    answers: list[bool] = []

    def look() -> None:
        got = lock.acquire(False)
        if got:
            lock.release()
        answers.append(got)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join(120)
    assert answers == [True], "the lock was left held"


@pytest.fixture(params=["Lock", "RLock"])
def lock(request: pytest.FixtureRequest) -> Any:
    return getattr(tasuki, request.param)()


def test_with_a_lock(lock: Any) -> None:
    def operation() -> None:
        with lock:
            pass

    hammer(operation, lambda: _is_free(lock))


def test_with_an_rlock_in_an_rlock() -> None:
    lock = tasuki.RLock()

    def operation() -> None:
        with lock, lock, lock:
            pass

    hammer(operation, lambda: _is_free(lock))


def test_with_a_lock_that_is_wanted_by_others(lock: Any) -> None:
    """The signal comes while waiting too, and so does the lock, at the same moment."""
    stop = False

    def compete() -> None:
        while not stop:
            with lock:
                pass

    thread = threading.Thread(target=compete)

    def operation() -> None:
        with lock:
            pass

    thread.start()
    try:
        hammer(operation, lambda: lock.acquire(timeout=120) and lock.release())
    finally:
        stop = True
        thread.join(120)
    _is_free(lock)


def test_acquire_and_release_behind_try(lock: Any) -> None:
    """Between acquire() and try no lock can help; whoever asks whether it was taken can."""

    def operation() -> None:
        taken = [False]
        try:
            taken[0] = lock.acquire()
        finally:
            if taken[0]:
                lock.release()

    def check() -> None:
        # As with threads' locks: it may be held, by this thread, if the signal came right after acquire().
        if lock.locked():
            lock.release()
        _is_free(lock)

    hammer(operation, check)


VALUES: dict[str, Callable[[], Any]] = {
    "number": lambda: tasuki.Value("q", 7),
    "number with a lock of another": lambda: tasuki.Value("q", 7, lock=tasuki.RLock()),
    "structure": lambda: tasuki.Value(_Point, 7, 7),
    "array": lambda: tasuki.Value(ctypes.c_int64 * 2, 7, 7),
    "string": lambda: tasuki.Value(ctypes.c_char * 2, b"7", b"7"),
}


class _Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int64), ("y", ctypes.c_int64))


@pytest.mark.parametrize("kind", VALUES)
def test_with_the_lock_of_a_value(kind: str) -> None:
    value = VALUES[kind]()
    lock = value.get_lock()

    def operation() -> None:
        with value.get_lock():
            pass

    hammer(operation, lambda: _is_free(lock))


@pytest.mark.parametrize("kind", VALUES)
def test_with_a_value(kind: str) -> None:
    value = VALUES[kind]()
    lock = value.get_lock()

    def operation() -> None:
        with value:
            pass

    hammer(operation, lambda: _is_free(lock))


@pytest.mark.parametrize("kind", VALUES)
def test_reading_and_writing_a_value(kind: str) -> None:
    value = VALUES[kind]()
    lock = value.get_lock()
    operations: dict[str, Callable[[], object]] = {
        "number": lambda: setattr(value, "value", value.value),
        "structure": lambda: setattr(value, "x", value.x),
        "array": lambda: value.__setitem__(0, value[1]),
        "string": lambda: setattr(value, "value", value.value),
    }
    hammer(operations[kind.partition(" ")[0]], lambda: _is_free(lock))


@pytest.mark.parametrize("message", [7, (7, "pickled"), b"x" * 50_000], ids=["int", "tuple", "large"])
def test_putting_and_getting(message: object) -> None:
    q = tasuki.Queue()

    def operation() -> None:
        q.put(message)
        q.get()

    def check() -> None:
        # The signal came between put and get, and there is one message more, or after get, and the message is gone.
        while not q.empty():
            assert q.get(timeout=120) == message
        q.put(message)
        assert q.get(timeout=120) == message

    hammer(operation, check)


def test_waiting_for_a_message() -> None:
    q = tasuki.Queue(1)

    def operation() -> None:
        q.get()

    def check() -> None:
        q.put(1, timeout=120)
        assert q.get(timeout=120) == 1

    hammer(operation, check)


# --- semaphores, conditions, events, barriers


@pytest.mark.parametrize("kind", ["Semaphore", "BoundedSemaphore"])
def test_with_a_semaphore(kind: str) -> None:
    semaphore = getattr(tasuki, kind)(2)

    def operation() -> None:
        with semaphore, semaphore:
            pass

    def check() -> None:
        assert semaphore.get_value() == 2, "a permit was lost or made"

    hammer(operation, check)


def test_with_a_semaphore_that_is_wanted_by_others() -> None:
    semaphore, stop = tasuki.Semaphore(1), False

    def compete() -> None:
        while not stop:
            with semaphore:
                pass

    thread = threading.Thread(target=compete)

    def operation() -> None:
        with semaphore:
            pass

    thread.start()
    try:
        hammer(operation, lambda: semaphore.acquire(timeout=120) and semaphore.release())
    finally:
        stop = True
        thread.join(120)
    assert semaphore.get_value() == 1


def _is_heard(condition: Any) -> None:
    """A notification reaches the one who waits."""
    heard: list[bool] = []

    def listen() -> None:
        with condition:
            waiting.set()
            heard.append(condition.wait(120))

    waiting = threading.Event()
    thread = threading.Thread(target=listen)
    thread.start()
    assert waiting.wait(120)
    with condition:
        condition.notify()
    thread.join(120)
    assert heard == [True], "the notification went to somebody who waits no more"


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_with_a_condition(kind: str) -> None:
    condition = tasuki.Condition(getattr(tasuki, kind)())

    def operation() -> None:
        with condition:
            condition.notify_all()

    hammer(operation, lambda: _is_free(condition))


@pytest.mark.parametrize("timeout", [None, 1e-4], ids=["for ever", "shortly"])
def test_waiting_for_a_condition(timeout: float | None) -> None:
    condition = tasuki.Condition()

    def operation() -> None:
        with condition:
            condition.wait(timeout)

    def check() -> None:
        _is_free(condition)
        _is_heard(condition)

    hammer(operation, check)


def test_waiting_for_a_condition_that_is_notified() -> None:
    condition, stop = tasuki.Condition(), False

    def notify() -> None:
        while not stop:
            with condition:
                condition.notify()

    thread = threading.Thread(target=notify)

    def operation() -> None:
        with condition:
            condition.wait()

    thread.start()
    try:
        hammer(operation, lambda: condition.acquire(timeout=120) and condition.release())
    finally:
        stop = True
        thread.join(120)
    _is_free(condition)
    _is_heard(condition)


def test_setting_and_waiting_for_an_event() -> None:
    event = tasuki.Event()

    def operation() -> None:
        event.set()
        event.wait()
        event.clear()
        event.wait(1e-4)

    def check() -> None:
        event.clear()
        thread = threading.Thread(target=event.set)
        thread.start()
        assert event.wait(120)
        thread.join(120)

    hammer(operation, check)


def test_waiting_at_a_barrier() -> None:
    barrier = tasuki.Barrier(2)

    def operation() -> None:
        try:
            barrier.wait(1e-4)
        except threading.BrokenBarrierError:
            barrier.reset()

    def check() -> None:
        barrier.reset()
        thread = threading.Thread(target=barrier.wait)
        thread.start()
        barrier.wait(120)
        thread.join(120)
        assert not barrier.broken

    hammer(operation, check)
