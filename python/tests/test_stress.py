"""Queues under load, and every message accounted for: a million by four producers and four consumers, in peace and with
kills; forks between the puts of other threads; three gibibytes; ten thousand queues.

`TASUKI_SOAK=1` (`make soak`) makes it long; the ordinary suite has a short form of each.
"""

from __future__ import annotations

import gc
import itertools
import mmap
import os
import random
import threading
import time
from typing import Any

import pytest

from observing import descriptors, resident
import tasuki

SOAK = os.environ.get("TASUKI_SOAK") == "1"
KIND = 4

pytestmark = [
    pytest.mark.timeout(1800),
    # Forking with threads is what is tested.
    pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning"),
]


class Ledger:
    """Which messages were acknowledged, and how often each was taken, in memory that forked processes share.

    A message is the number of a producer's life and its own number there, and a filling that follows from both, so that a
    torn one is noticed. `sizes` says how many messages each life has at most.
    """

    def __init__(self, sizes: list[int]) -> None:
        self.begins = [0, *itertools.accumulate(sizes)]
        self.acknowledged = memoryview(mmap.mmap(-1, 8 * len(sizes))).cast("q")
        self.taken = memoryview(mmap.mmap(-1, self.begins[-1]))

    def message(self, life: int, number: int) -> tuple[int, int, bytes]:
        return life, number, bytes([(life ^ number) % 251]) * (number % 97)

    def take(self, message: tuple[int, int, bytes]) -> tuple[int, int]:
        life, number, _ = message
        assert message == self.message(life, number), "a torn message"
        self.taken[self.begins[life] + number] += 1
        return life, number

    def counts(self) -> tuple[int, int, int]:
        """Messages that were taken, acknowledged, and acknowledged but never taken."""
        taken = bytes(self.taken)
        assert max(taken) <= 1, "a message was taken twice"
        known = list(self.acknowledged)
        of_known = sum(taken.count(1, begin, begin + count) for begin, count in zip(self.begins, known, strict=False))
        return taken.count(1), sum(known), sum(known) - of_known


def _produce(q: Any, ledger: Ledger, life: int, count: int) -> None:
    for number in range(count):
        q.put(ledger.message(life, number))
        ledger.acknowledged[life] = number + 1


def _consume(q: Any, ledger: Ledger) -> None:
    latest: dict[int, int] = {}
    while (message := q.get()) is not None:
        life, number = ledger.take(message)
        assert number > latest.get(life, -1), "a producer's messages came in another order"
        latest[life] = number


def _end(q: Any, consumers: list[Any]) -> None:
    """All that was put before is taken and noted when they have ended."""
    for _ in consumers:
        q.put(None)
    for consumer in consumers:
        consumer.join()
    assert [consumer.exitcode for consumer in consumers] == [0] * len(consumers)
    assert q.empty() and q.qsize() == 0


@pytest.mark.parametrize("maxsize", [0, 100])
def test_a_million_messages_arrive_once_each(maxsize: int) -> None:
    ctx = tasuki.get_context("fork")
    total = 1_000_000
    q, ledger = ctx.Queue(maxsize), Ledger([total // KIND] * KIND)
    consumers = [ctx.Process(target=_consume, args=(q, ledger)) for _ in range(KIND)]
    producers = [ctx.Process(target=_produce, args=(q, ledger, life, total // KIND)) for life in range(KIND)]
    for process in consumers + producers:
        process.start()
    for process in producers:
        process.join()
        assert process.exitcode == 0
    _end(q, consumers)
    assert ledger.counts() == (total, total, 0)


@pytest.mark.parametrize("maxsize", [0, 100] * (10 if SOAK else 1))
def test_with_kills_nothing_acknowledged_is_lost_but_what_was_in_a_dead_hand(maxsize: int) -> None:
    ctx, rng = tasuki.get_context("fork"), random.Random()
    total, lives = 1_000_000, 200
    q, ledger = ctx.Queue(maxsize), Ledger([total // KIND] * lives)
    born = killed_producers = killed_consumers = 0
    consumers, producers = [], []

    def start(target: Any, *args: Any) -> Any:
        process = ctx.Process(target=target, args=args)
        process.start()
        return process

    consumers = [start(_consume, q, ledger) for _ in range(KIND)]
    while sum(ledger.acknowledged) < total and (born < lives or producers):
        producers = [process for process in producers if process.exitcode is None]
        while len(producers) < KIND and born < lives:
            producers.append(start(_produce, q, ledger, born, total // KIND))
            born += 1
        time.sleep(rng.random() * 0.01)
        place = rng.randrange(KIND)
        if rng.random() < 0.5:
            consumers[place].kill()
            consumers[place].join()
            assert consumers[place].exitcode == -9, "a consumer found fault"
            consumers[place] = start(_consume, q, ledger)
            killed_consumers += 1
        elif place < len(producers) and born < lives:
            process = producers.pop(place)
            process.kill()
            process.join()
            assert process.exitcode in (-9, 0), "a producer found fault"
            killed_producers += process.exitcode == -9
    for process in producers:
        process.kill()
        process.join()
        killed_producers += process.exitcode == -9
    _end(q, consumers)
    taken, acknowledged, lost = ledger.counts()
    assert acknowledged > 0
    assert lost <= killed_consumers
    assert taken + lost - acknowledged <= killed_producers


def _find(conn: Any, answer: Any) -> None:
    middle = conn.recv()
    conn.send("have it")
    assert conn.recv() == "go on"
    inner = middle.get()
    answer.put([inner.get() for _ in range(3)])
    answer.put(inner)


def test_a_queue_goes_through_a_queue_that_goes_through_a_pipe(ctx: Any) -> None:
    here, there = ctx.Pipe()
    answer = ctx.Queue()
    process = ctx.Process(target=_find, args=(there, answer))
    process.start()
    inner, middle = ctx.Queue(), ctx.Queue(3)
    for number in range(4):
        inner.put((number, "in the innermost"))
    middle.put(inner)
    here.send(middle)
    assert here.recv() == "have it"
    # From here on the innermost queue is nowhere but in a message.
    del inner, middle
    gc.collect()
    here.send("go on")
    assert answer.get() == [(number, "in the innermost") for number in range(3)]
    back = answer.get()
    assert back.get() == (3, "in the innermost") and back.empty()
    process.join()
    assert process.exitcode == 0


def _available() -> int:
    """Bytes that this process may still use, as the kernel and the cgroups see it."""

    def number(path: str) -> int | None:
        try:
            with open(path) as file:
                return int(file.read())
        except (OSError, ValueError):
            return None

    with open("/proc/meminfo") as file:
        spare = next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))
    limit, used = number("/sys/fs/cgroup/memory.max"), number("/sys/fs/cgroup/memory.current")
    return spare if limit is None or used is None else min(spare, limit - used)


def _put_large(q: Any, length: int) -> None:
    q.put(bytes(length - 2) + b"\1\2")
    q.put("small")


def test_a_huge_message_arrives_whole() -> None:
    length = (3 << 30 if SOAK else 300 << 20) + 5
    if _available() < 4 * length:
        pytest.skip(f"a message of {length} bytes needs four times as much memory as is there")
    ctx = tasuki.get_context("fork")
    q = ctx.Queue()
    process = ctx.Process(target=_put_large, args=(q, length))
    process.start()
    message = q.get()
    assert len(message) == length and message[-2:] == b"\1\2" and message.count(0) == length - 2
    assert q.get() == "small"
    process.join()
    assert process.exitcode == 0


def _holdings() -> tuple[int, int]:
    """Open descriptors and resident bytes."""
    gc.collect()
    return descriptors(), resident()


def test_ten_thousand_queues_leave_nothing() -> None:
    def work(times: int) -> None:
        for number in range(times):
            q = tasuki.Queue(number % 3)
            q.put(number)
            if number % 2:
                assert q.get() == number

    work(1000)
    descriptors, memory = _holdings()
    work(10_000)
    after = _holdings()
    assert after[0] == descriptors
    # A leak of 64 bytes for each would be more.
    assert after[1] < memory + (512 << 10)


def test_forks_between_the_puts_of_other_threads_lose_nothing() -> None:
    ctx = tasuki.get_context("fork")
    children, of_each_child, most = (1000 if SOAK else 60), 20, 5_000_000
    for maxsize in (0, 16):
        q, ledger = ctx.Queue(maxsize), Ledger([most] * KIND + [of_each_child] * children)
        consumer = ctx.Process(target=_consume, args=(q, ledger))
        consumer.start()
        stop = threading.Event()

        def put(life: int) -> None:
            number = 0
            while not stop.is_set() and number < most:
                q.put(ledger.message(life, number))
                ledger.acknowledged[life] = number = number + 1

        threads = [threading.Thread(target=put, args=(life,)) for life in range(KIND)]
        for thread in threads:
            thread.start()
        alive = []
        try:
            for child in range(children):
                process = ctx.Process(target=_produce, args=(q, ledger, KIND + child, of_each_child))
                process.start()
                alive.append(process)
                if len(alive) > 4:
                    process = alive.pop(0)
                    process.join()
                    assert process.exitcode == 0
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        for process in alive:
            process.join()
            assert process.exitcode == 0
        _end(q, [consumer])
        taken, acknowledged, lost = ledger.counts()
        assert taken == acknowledged and lost == 0
        assert all(ledger.acknowledged[KIND + child] == of_each_child for child in range(children))
        assert all(ledger.acknowledged[thread] > 0 for thread in range(KIND))
