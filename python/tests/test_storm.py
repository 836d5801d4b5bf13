"""The kill storm: processes killed at random instants, and every message accounted for afterwards.

`TASUKI_STORM_ROUNDS` makes it longer; the default takes some seconds.
"""

from __future__ import annotations

import os
import queue
import random
import time
import zlib
from typing import Any

import pytest

import tasuki
from deadlines import WATCHDOG, until

pytestmark = pytest.mark.timeout(3600)

ROUNDS = int(os.environ.get("TASUKI_STORM_ROUNDS", "40"))
SIZES = (0, 10, 300, 4_000, 5_000, 70_000)


def _message(who: int, number: int, rng: random.Random) -> bytes:
    body = b"%d %d " % (who, number) + bytes([number % 256]) * rng.choice(SIZES)
    return zlib.crc32(body).to_bytes(4, "little") + body


def _parse(message: bytes) -> tuple[int, int]:
    body = message[4:]
    assert zlib.crc32(body) == int.from_bytes(message[:4], "little"), "a torn message"
    who, number, _ = body.split(b" ", 2)
    return int(who), int(number)


def _produce(q: Any, who: int, done: Any) -> None:
    rng = random.Random(who)
    number = 0
    while True:
        q.put(_message(who, number, rng))
        # From here on the message is acknowledged.
        done.value = number = number + 1


def _consume(q: Any, counts: Any) -> None:
    while True:
        _parse(q.get())
        counts.value += 1


@pytest.mark.parametrize("maxsize", [0, 5])
def test_no_acknowledged_message_of_a_killed_producer_is_lost(maxsize: int) -> None:
    ctx, rng = tasuki.get_context("fork"), random.Random(maxsize)
    q = ctx.Queue(maxsize)
    for round_ in range(ROUNDS):
        acknowledged = [ctx.Value("q", 0, lock=False) for _ in range(2)]
        producers = [ctx.Process(target=_produce, args=(q, who, done)) for who, done in enumerate(acknowledged)]
        for process in producers:
            process.start()
        received = [0, 0]
        until = time.monotonic() + rng.random() * 0.05
        killed = False
        while True:
            if not killed and time.monotonic() > until:
                for process in producers:
                    process.kill()
                for process in producers:
                    process.join(WATCHDOG)
                killed = True
            try:
                # What is there when all producers are dead can be had, if need be after a while: only a hang is judged.
                who, number = _parse(
                    q.get(timeout=0.01 if not killed else WATCHDOG) if not (killed and q.empty()) else q.get(False)
                )
            except queue.Empty:
                if killed:
                    break
                continue
            assert number == received[who], "a message was lost, repeated or overtaken"
            received[who] += 1
        for done, count in zip(acknowledged, received, strict=True):
            # The last put may have been complete, but its producer was killed before it could say so.
            assert done.value <= count <= done.value + 1


def test_survivors_go_on_when_consumers_are_killed() -> None:
    """A message is lost only if the consumer that took it dies before using it: one at most for each kill."""
    ctx, rng = tasuki.get_context("fork"), random.Random(7)
    q, sent, kills = ctx.Queue(20), 0, 0
    used = []
    payload = random.Random(1)
    for round_ in range(ROUNDS):
        counts = ctx.Value("q", 0, lock=False)
        consumer = ctx.Process(target=_consume, args=(q, counts))
        consumer.start()
        until = time.monotonic() + rng.random() * 0.03
        while time.monotonic() < until:
            q.put(_message(0, sent, payload), timeout=WATCHDOG)
            sent += 1
        consumer.kill()
        consumer.join(WATCHDOG)
        kills += 1
        used.append(counts.value)
    left = 0
    while not q.empty():
        _parse(q.get(timeout=WATCHDOG))
        left += 1
    lost = sent - left - sum(used)
    assert 0 <= lost <= kills


def _both(lock: Any, first: Any, second: Any, deaths: Any) -> None:
    while True:
        try:
            with lock:
                first.value += 1
                second.value += 1
        except tasuki.OwnerDied:
            # The lock is free now, and others go on with what the dead one left half done: each death costs one step.
            deaths.value += 1


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_lock_goes_on_when_its_holders_are_killed(kind: str) -> None:
    ctx, rng = tasuki.get_context("fork"), random.Random(3)
    lock = getattr(ctx, kind)()
    first, second, deaths = (ctx.Value("q", 0, lock=False) for _ in range(3))
    workers = [ctx.Process(target=_both, args=(lock, first, second, deaths)) for _ in range(3)]
    for process in workers:
        process.start()
    for _ in range(ROUNDS):
        time.sleep(rng.random() * 0.02)
        victim = rng.randrange(3)
        workers[victim].kill()
        workers[victim].join(WATCHDOG)
        workers[victim] = ctx.Process(target=_both, args=(lock, first, second, deaths))
        workers[victim].start()
        # Somebody gets on.
        before = first.value
        until(lambda before=before: first.value != before)
    for process in workers:
        process.kill()
        process.join(WATCHDOG)
    try:
        lock.acquire()
    except tasuki.OwnerDied:
        lock.acquire()
    assert 0 <= first.value - second.value <= ROUNDS + 3
    # A death is told at most once; most hit a holder.
    assert 0 < deaths.value <= ROUNDS + 3
    lock.release()
