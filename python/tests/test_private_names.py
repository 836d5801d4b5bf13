"""Names behind the standard objects that programs look at: those that mean something here are there, and say what is so."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

import tasuki
from deadlines import WATCHDOG

#: What has no meaning here, as README.md says.
NO_MEANING = {"_is_fork_ctx", "_array", "_wrapper", "_opid"}

MAKERS: dict[str, Callable[[Any], Any]] = {
    "Lock": lambda m: m.Lock(),
    "RLock": lambda m: m.RLock(),
    "Semaphore": lambda m: m.Semaphore(),
    "BoundedSemaphore": lambda m: m.BoundedSemaphore(),
    "Event": lambda m: m.Event(),
    "Condition": lambda m: m.Condition(),
    "Barrier": lambda m: m.Barrier(2),
    "Queue": lambda m: m.Queue(),
    "JoinableQueue": lambda m: m.JoinableQueue(),
    "SimpleQueue": lambda m: m.SimpleQueue(),
    "Pipe": lambda m: m.Pipe(False)[0],
    "Value": lambda m: m.Value("i"),
    "Array": lambda m: m.Array("i", 3),
    "characters": lambda m: m.Array("c", 3),
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_name_that_means_something(kind: str) -> None:
    standard, ours = (MAKERS[kind](module) for module in (multiprocessing, tasuki))
    missing = {name for name in dir(standard) if not hasattr(ours, name)}
    assert missing <= NO_MEANING
    for thing in (standard, ours):
        if hasattr(thing, "close"):
            thing.close()


def _join(queue: Any, timeout: float) -> bool:
    """The join with a timeout that many programs have."""
    with queue._cond:
        if not queue._unfinished_tasks._semlock._is_zero():
            queue._cond.wait(timeout)
    return bool(queue._unfinished_tasks._semlock._is_zero())


@pytest.mark.parametrize("module", [multiprocessing, tasuki], ids=["standard", "tasuki"])
def test_a_join_with_a_timeout(module: Any) -> None:
    queue = module.JoinableQueue()
    assert _join(queue, 0.01)
    queue.put("task")
    queue.put("task")
    assert queue._unfinished_tasks._semlock._get_value() == queue._unfinished_tasks.get_value() == 2
    assert not _join(queue, 0.01)
    queue.get(), queue.task_done()
    assert not _join(queue, 0.01)

    def finish() -> None:
        queue.get(timeout=WATCHDOG)
        time.sleep(0.1)
        queue.task_done()

    thread = threading.Thread(target=finish)
    thread.start()
    assert _join(queue, WATCHDOG)
    thread.join()
    queue.put("task")
    with queue._cond:
        assert not queue._cond.wait_for(queue._unfinished_tasks._semlock._is_zero, 0.01)
    queue.get(), queue.task_done()
    with queue._cond:
        queue._cond.notify_all()
        assert queue._cond.wait_for(queue._unfinished_tasks._semlock._is_zero, WATCHDOG)
    queue.close()
    queue.join_thread()


@pytest.mark.parametrize("module", [multiprocessing, tasuki], ids=["standard", "tasuki"])
def test_what_is_behind_a_queue(module: Any) -> None:
    queue = module.Queue(2)
    assert queue._maxsize == queue._sem.get_value() == 2
    assert not queue._buffer and queue._thread is None and not queue._poll()
    queue.put("x")
    assert queue._poll(30) and not queue._sem._semlock._is_zero()
    queue.put("y")
    assert queue._sem._semlock._is_zero() and queue._sem.get_value() == 0
    with queue._notempty:
        queue._notempty.notify()
    assert queue._recv_bytes() and queue._poll(30)
    queue.close()
    queue.join_thread()
    simple = module.SimpleQueue()
    assert not simple._poll()
    simple.put("z")
    assert simple._poll(30)
    simple.close()


@pytest.mark.parametrize("module", [multiprocessing, tasuki], ids=["standard", "tasuki"])
def test_what_is_behind_events_barriers_and_conditions(module: Any) -> None:
    event = module.Event()
    assert event._flag.get_value() == 0
    with event._cond:
        assert not event._cond.wait(0.01)
    event.set()
    assert event._flag.get_value() == 1 and not event._flag._semlock._is_zero()
    barrier = module.Barrier(2)
    with barrier._cond:
        assert (barrier._state, barrier._count, barrier._parties) == (0, 0, 2)
    barrier.abort()
    assert barrier._state == -2
    condition = module.Condition()
    assert repr(condition) == "<Condition(<RLock(None, 0)>, 0)>"
    assert condition._sleeping_count._semlock._get_value() - condition._woken_count._semlock._get_value() == 0
    reader, writer = module.Pipe(False)
    assert (reader._readable, reader._writable, writer._readable, writer._writable) == (True, False, False, True)
    reader.close(), writer.close()


def test_an_error_has_its_number_once() -> None:
    with pytest.raises(FileNotFoundError) as raised:
        tasuki.connection.Client("/nowhere/at/all")
    assert str(raised.value).startswith("[Errno 2] ") and "os error" not in str(raised.value)
    reader, writer = tasuki.Pipe(False)
    with pytest.raises(OSError) as raised_by_send:
        tasuki.reduction.send_handle(writer, 1 << 20, None)
    assert "os error" not in str(raised_by_send.value)
    reader.close(), writer.close()
