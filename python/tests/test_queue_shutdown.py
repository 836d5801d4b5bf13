"""shutdown(): as `queue.Queue` has it since Python 3.13, for all processes at once."""

from __future__ import annotations

import multiprocessing.connection
import queue
import threading
from typing import Any

import pytest

import tasuki
from deadlines import WATCHDOG, until_asleep

KINDS = ("Queue", "SimpleQueue")


@pytest.fixture(params=KINDS)
def q(request: pytest.FixtureRequest) -> Any:
    return getattr(tasuki, request.param)()


def test_the_exception_is_the_standard_one_where_there_is_one() -> None:
    assert tasuki.ShutDown is tasuki.queues.ShutDown
    assert tasuki.ShutDown is getattr(queue, "ShutDown", tasuki.ShutDown)
    assert issubclass(tasuki.ShutDown, Exception) and not issubclass(tasuki.ShutDown, (queue.Empty, queue.Full))


def test_afterwards_nothing_goes_in_and_what_is_in_comes_out(q: Any) -> None:
    q.put(1)
    q.put(2)
    assert not q.is_shutdown
    q.shutdown()
    assert q.is_shutdown
    for put in (q.put, q.put_nowait):
        with pytest.raises(tasuki.ShutDown):
            put(3)
    assert q.get() == 1 and q.get_nowait() == 2
    for get in (q.get, q.get_nowait, q.get_view, lambda: q.get(timeout=0.01), q._reader.recv):
        with pytest.raises(tasuki.ShutDown):
            get()
    assert q.empty()


def test_immediately_what_is_in_is_thrown_away(q: Any) -> None:
    q.put(1)
    q.put(b"x" * 5_000_000)
    q.shutdown(immediate=True)
    assert q.empty() and q.qsize() == 0
    with pytest.raises(tasuki.ShutDown):
        q.get()


def test_it_can_be_called_again(q: Any) -> None:
    q.put(1)
    q.shutdown()
    q.shutdown()
    assert q.get() == 1
    q.shutdown(True)
    with pytest.raises(tasuki.ShutDown):
        q.get_nowait()


def test_those_who_wait_are_woken() -> None:
    empty, full = tasuki.Queue(), tasuki.Queue(1)
    full.put(1)
    ended: list[object] = []

    def wait(call: Any, *args: Any) -> None:
        try:
            call(*args)
        except tasuki.ShutDown as error:
            ended.append(error)

    calls = [(empty.get,), (empty.get, True, 600), (full.put, 2), (full.put, 2, True, 600), (empty._reader.recv,)]
    threads = [threading.Thread(target=wait, args=call) for call in calls]
    for thread in threads:
        thread.start()
    until_asleep(*(thread.native_id for thread in threads))
    empty.shutdown()
    full.shutdown()
    for thread in threads:
        thread.join(120)
    assert len(ended) == len(calls)


def _drain(q: Any, got: Any) -> None:
    count = 0
    try:
        while True:
            q.get()
            count += 1
    except tasuki.ShutDown:
        got.put(count)


def test_it_ends_consumers_in_other_processes(ctx: Any) -> None:
    q, got = ctx.Queue(), ctx.Queue()
    consumers = [ctx.Process(target=_drain, args=(q, got)) for _ in range(2)]
    for process in consumers:
        process.start()
    for number in range(1000):
        q.put(number)
    q.shutdown()
    assert sum(got.get(timeout=120) for _ in consumers) == 1000
    for process in consumers:
        process.join(120)
        assert process.exitcode == 0


def _shut_down(q: Any) -> None:
    q.shutdown()


def test_any_process_may_call_it(ctx: Any) -> None:
    q = ctx.Queue()
    process = ctx.Process(target=_shut_down, args=(q,))
    process.start()
    with pytest.raises(tasuki.ShutDown):
        q.get(timeout=120)
    process.join(120)


def test_its_descriptor_stays_readable(q: Any) -> None:
    assert multiprocessing.connection.wait([q], 0) == []
    q.shutdown()
    assert multiprocessing.connection.wait([q], WATCHDOG) == [q]
    assert q._reader.poll(None)
    with pytest.raises(tasuki.ShutDown):
        q.get()
    assert multiprocessing.connection.wait([q], 0) == [q]


def test_it_is_known_to_those_who_come_later(ctx: Any) -> None:
    q, got = ctx.Queue(), ctx.Queue()
    q.put("left")
    q.shutdown()
    process = ctx.Process(target=_drain, args=(q, got))
    process.start()
    assert got.get(timeout=120) == 1
    process.join(120)
