"""put_many and get_many: everything once and in order, all that was written or nothing, and a kill loses no more."""

from __future__ import annotations

import itertools
import os
import pickle
import queue
import random
import signal
import threading
import time
from typing import Any

import numpy as np
import pytest

from working import Bomb
import tasuki
from deadlines import WATCHDOG, struck_asleep, until, until_asleep, when_asleep

VALUES = [1, -1, "two", None, True, 2.5, b"bytes", (3, "three"), [4], {"five": 5}, 2**70, bytearray(b"x"), ""]


@pytest.fixture(params=["Queue", "JoinableQueue", "SimpleQueue"])
def q(request: pytest.FixtureRequest) -> Any:
    return getattr(tasuki, request.param)()


# --- what comes out is what went in


def test_many_go_in_and_come_out_in_order(q: Any) -> None:
    q.put_many(VALUES)
    assert q.qsize() == len(VALUES)
    assert q.get_many() == VALUES
    q.put_many(iter(VALUES))
    q.put_many(())
    assert [q.get() for _ in VALUES] == VALUES
    for value in VALUES:
        q.put(value)
    assert q.get_many(5) == VALUES[:5]
    assert q.get_many(100) == VALUES[5:]
    assert q.empty()


def test_messages_of_every_size_in_one_batch(q: Any) -> None:
    sizes = [0, 10, 4095, 4096, 4097, 70_000, 1 << 20, 3 << 20, 7]
    data = [os.urandom(1) * size for size in sizes]
    # From a thread: a SimpleQueue is full at 1 MiB.
    thread = threading.Thread(target=q.put_many, args=(data,))
    thread.start()
    got: list[bytes] = []
    while len(got) < len(data):
        got += q.get_many()
    thread.join(120)
    assert got == data


def test_arrays_and_handles_in_one_batch() -> None:
    q: Any = tasuki.Queue()
    array, inner = np.arange(1 << 18, dtype="i8"), tasuki.Queue()
    inner.put("inside")
    q.put_many([1, array, inner, (inner, array), 2])
    got: list[Any] = []
    while len(got) < 5:
        got += q.get_many()
    assert got[0] == 1 and got[4] == 2
    assert (got[1] == array).all() and (got[3][1] == array).all()
    assert got[2].get() == "inside"
    inner.put("again")
    assert got[3][0].get() == "again"


def test_more_than_one_step_holds(q: Any) -> None:
    thread = threading.Thread(target=q.put_many, args=(range(100_000),))
    thread.start()
    got: list[int] = []
    while len(got) < 100_000:
        part = q.get_many(30_000)
        assert 0 < len(part) <= 30_000
        got += part
    thread.join(120)
    assert got == list(range(100_000))


# --- bounds and time


def test_put_many_waits_for_room_again_and_again() -> None:
    q: Any = tasuki.Queue(7)
    thread = threading.Thread(target=q.put_many, args=(range(1000),))
    thread.start()
    got = [q.get(timeout=120) for _ in range(500)]
    while len(got) < 1000:
        part = q.get_many(timeout=120)
        assert len(part) <= 7
        got += part
    thread.join(120)
    assert got == list(range(1000))


@pytest.mark.parametrize("how", [{"block": False}, {"timeout": 0}, {"timeout": 0.05}, {"timeout": -1}])
def test_full_says_how_many_were_put(how: dict[str, Any]) -> None:
    q: Any = tasuki.Queue(5)
    q.put("first")
    with pytest.raises(queue.Full) as caught:
        q.put_many(range(10), **how)
    assert caught.value.put == 4  # type: ignore[attr-defined]
    assert q.get_many() == ["first", 0, 1, 2, 3]
    # Large ones, which are copied without the interpreter.
    with pytest.raises(queue.Full) as caught:
        q.put_many([b"x" * 100_000] * 7, **how)
    assert caught.value.put == 5  # type: ignore[attr-defined]


def test_nothing_there_is_empty(q: Any) -> None:
    with pytest.raises(queue.Empty):
        q.get_many(block=False)
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        q.get_many(3, True, 0.1)
    assert time.monotonic() - began >= 0.1


def test_get_many_waits_for_the_first_one_only(q: Any) -> None:
    with when_asleep(lambda: q.put("x")):
        assert q.get_many(100) == ["x"]


@pytest.mark.parametrize("max", [0, -1])
def test_to_ask_for_none_is_an_error(max: int) -> None:
    q: Any = tasuki.Queue()
    q.put(1)
    with pytest.raises(ValueError, match="max"):
        q.get_many(max)
    assert q.get() == 1


# --- refusals


def test_if_one_cannot_be_pickled_none_is_put(q: Any) -> None:
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        q.put_many([1, 2, lambda: None, 3])
    with pytest.raises(TypeError):
        q.put_many(7)
    assert q.empty()


def test_the_feeder_hook_gets_its_call_and_the_others_go_in() -> None:
    class Hooked(tasuki.queues.Queue):
        @staticmethod
        def _on_queue_feeder_error(error: Exception, obj: object) -> None:
            errors.append(obj)

    errors: list[object] = []
    q: Any = Hooked(ctx=tasuki.get_context())
    broken = lambda: None  # noqa: E731
    q.put_many([1, broken, 2])
    assert errors == [broken] and q.get_many() == [1, 2]


def test_if_one_cannot_be_unpickled_the_others_are_not_lost(q: Any) -> None:
    q.put_many([1, Bomb(), 2, Bomb()])
    with pytest.raises(ZeroDivisionError) as caught:
        q.get_many()
    assert caught.value.got == [1, 2]  # type: ignore[attr-defined]
    assert q.empty()


def test_a_closed_queue_refuses() -> None:
    q: Any = tasuki.Queue()
    q.close()
    with pytest.raises(ValueError, match="is closed"):
        q.put_many([1])
    with pytest.raises(ValueError, match="is closed"):
        q.get_many()


def test_shutdown_ends_both() -> None:
    q: Any = tasuki.Queue(3)
    raised: list[Any] = []

    def put() -> None:
        try:
            q.put_many(range(10))
        except tasuki.ShutDown as error:
            raised.append(error)

    thread = threading.Thread(target=put)
    thread.start()
    until(q.full)
    until_asleep(thread.native_id)
    q.shutdown()
    thread.join(120)
    assert raised[0].put == 3
    assert q.get_many() == [0, 1, 2]
    with pytest.raises(tasuki.ShutDown):
        q.get_many()


def test_ctrl_c_says_how_many_were_put() -> None:
    q: Any = tasuki.Queue(3)
    with pytest.raises(KeyboardInterrupt) as caught, struck_asleep(signal.SIGINT):
        q.put_many(range(10))
    assert caught.value.put == 3  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt), struck_asleep(signal.SIGINT):
        tasuki.Queue().get_many(timeout=WATCHDOG)


# --- between processes, and death


def _put_in_batches(q: Any, who: int, many: int) -> None:
    rng = random.Random(who)
    numbers = ((who, number) for number in range(many))
    while batch := list(itertools.islice(numbers, rng.randrange(1, 50))):
        q.put_many(batch)


def _get_in_batches(q: Any, got: Any) -> None:
    rng = random.Random(os.getpid())
    mine: list[Any] = []
    try:
        while True:
            mine += q.get_many(rng.randrange(1, 50))
    except tasuki.ShutDown:
        got.put(mine)


def test_each_producers_messages_stay_in_order_and_none_is_lost(ctx: Any) -> None:
    q, got = ctx.Queue(40), ctx.Queue()
    producers = [ctx.Process(target=_put_in_batches, args=(q, who, 3000)) for who in range(3)]
    consumers = [ctx.Process(target=_get_in_batches, args=(q, got)) for _ in range(2)]
    for process in producers + consumers:
        process.start()
    for process in producers:
        process.join(120)
    q.shutdown()
    parts = [got.get(timeout=120) for _ in consumers]
    for process in consumers:
        process.join(120)
    for part in parts:
        for who in range(3):
            numbers = [number for of, number in part if of == who]
            assert numbers == sorted(numbers)
    assert sorted(itertools.chain(*parts)) == [(who, n) for who in range(3) for n in range(3000)]


def _put_batches_forever(q: Any, pid: Any) -> None:
    pid.value = os.getpid()
    for batch in itertools.count():
        q.put_many([(os.getpid(), batch, n, b"x" * (n * 300)) for n in range(20)])


def test_a_batch_of_a_killed_producer_is_whole_or_not_there(ctx: Any) -> None:
    """Small batches go in by one step; the large messages in them are put before the step."""
    rng = random.Random(5)
    for _ in range(6):
        q, pid = ctx.Queue(), ctx.Value("i")
        victim = ctx.Process(target=_put_batches_forever, args=(q, pid), daemon=True)
        victim.start()
        assert q.get(timeout=120)[2] == 0
        time.sleep(rng.random() * 0.05)
        victim.kill()
        victim.join(120)
        got = [(pid.value, 0, 0, b"")]
        while not q.empty():
            got += q.get_many(timeout=120)
        assert len(got) % 20 == 0
        for place, (_, batch, n, data) in enumerate(got):
            assert (batch, n) == divmod(place, 20) and len(data) == n * 300
        q.put("goes on")
        assert q.get_many() == ["goes on"]


def _get_batches_forever(q: Any, last: Any) -> None:
    while True:
        for number in q.get_many(10):
            last.value = number


def _feed(q: Any) -> None:
    try:
        for first in itertools.count(0, 50):
            q.put_many(range(first, first + 50))
    except tasuki.ShutDown:
        pass


def test_a_killed_consumer_takes_no_more_than_its_batch(ctx: Any) -> None:
    rng = random.Random(6)
    for _ in range(4):
        # Fed as fast as it is emptied, so that something is left whenever the consumer dies.
        q, last = ctx.Queue(1000), ctx.Value("q", -1, lock=False)
        victim = ctx.Process(target=_get_batches_forever, args=(q, last), daemon=True)
        victim.start()
        feeder = threading.Thread(target=_feed, args=(q,))
        feeder.start()
        until(lambda last=last: last.value >= 0)
        time.sleep(rng.random() * 0.01)
        victim.kill()
        victim.join(WATCHDOG)
        left = q.get(timeout=WATCHDOG)
        assert last.value < left <= last.value + 11
        assert q.get(timeout=WATCHDOG) == left + 1
        q.shutdown()
        feeder.join(WATCHDOG)
