"""Waiting for many things at once, for long: no wake-up is lost, and a wait that is cancelled loses no message.

Whoever sends waits for an answer before the next message, so that a lost wake-up stops the test and no later message can
hide it. `TASUKI_SOAK=1` (`make soak`) makes it long; the ordinary suite has a short form of each.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
import struct
import time
from collections.abc import Callable
from queue import Empty, Full
from typing import Any

import pytest

import tasuki
from tasuki import connection

SOAK = os.environ.get("TASUKI_SOAK") == "1"
EACH = 30_000 if SOAK else 1_000

pytestmark = pytest.mark.timeout(1800)


class Source:
    """One thing that can be waited for, and how to take a number out of it: None when there was none after all."""

    def __init__(self, waitable: Any, take: Callable[[], int | None]) -> None:
        self.waitable = waitable
        self.take = take
        self.got: list[int] = []


def _queue_source(q: Any) -> Source:
    def take() -> int | None:
        try:
            return q.get_nowait()
        except Empty:
            return None

    return Source(q, take)


def _pipe_source(conn: Any) -> Source:
    def take() -> int | None:
        try:
            return conn.recv() if conn.poll() else None
        except EOFError:
            return -1

    return Source(conn, take)


def _socket_source(sock: socket.socket) -> Source:
    def take() -> int | None:
        data = sock.recv(4)
        return struct.unpack("i", data)[0] if data else -1

    return Source(sock, take)


def _a_moment(rng: random.Random) -> None:
    """Sometimes nothing, sometimes long enough for everybody to fall asleep."""
    if rng.random() < 0.5:
        time.sleep(rng.random() * 0.002)


def _send(send: Callable[[int], object], answers: Any, seed: int) -> None:
    """Each number when the one before was answered."""
    rng = random.Random(seed)
    for number in range(EACH):
        _a_moment(rng)
        send(number)
        assert answers.get() == number


def _lives_for_a_moment(seed: int) -> None:
    time.sleep(random.Random(seed).random() * 0.01)


def test_wait_over_queues_pipes_sockets_and_processes_misses_nothing() -> None:
    ctx = tasuki.get_context("fork")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    queues = [ctx.Queue(), ctx.Queue(3), ctx.SimpleQueue(), ctx.JoinableQueue()]
    pipes = [ctx.Pipe(duplex=False), ctx.Pipe(duplex=False), ctx.Pipe()]
    ours, theirs = socket.socketpair()
    sources = [_queue_source(q) if hasattr(q, "get_nowait") else _simple_source(q) for q in queues]
    sources += [_pipe_source(reader) for reader, _ in pipes]
    sources.append(_socket_source(ours))
    senders: list[Callable[[int], object]] = [q.put for q in queues]
    senders += [writer.send for _, writer in pipes]
    senders.append(lambda number: theirs.sendall(struct.pack("i", number)))
    answers = [ctx.Queue() for _ in sources]
    processes = [
        ctx.Process(target=_send, args=(send, answer, seed + index))
        for index, (send, answer) in enumerate(zip(senders, answers, strict=True))
    ]
    for process in processes:
        process.start()
    of_waitable = {id(source.waitable): index for index, source in enumerate(sources)}
    sentinels = {process.sentinel: process for process in processes}
    short_lives = ended = 0
    rng = random.Random(seed)
    while sentinels:
        # Now and then a process that ends by itself joins those that are waited for.
        if rng.random() < 0.02:
            process = ctx.Process(target=_lives_for_a_moment, args=(rng.random(),))
            process.start()
            sentinels[process.sentinel] = process
            short_lives += 1
        waitables = [source.waitable for source in sources] + list(sentinels)
        rng.shuffle(waitables)
        timeout = rng.choice([None, None, None, 0, 0.001])
        ready = connection.wait(waitables, timeout)
        assert ready or timeout is not None
        for waitable in ready:
            if isinstance(waitable, int):
                process = sentinels.pop(waitable)
                process.join()
                assert process.exitcode == 0
                ended += 1
                continue
            index = of_waitable[id(waitable)]
            number = sources[index].take()
            # Nobody else takes: who is ready has something.
            assert number is not None and number >= 0
            sources[index].got.append(number)
            answers[index].put(number)
    assert all(source.got == list(range(EACH)) for source in sources)
    assert ended == len(processes) + short_lives
    ours.close()
    theirs.close()
    for reader, writer in pipes:
        reader.close()
        writer.close()


def _simple_source(q: Any) -> Source:
    return Source(q, lambda: None if q.empty() else q.get())


def _compete(queues: list[Any], results: Any, seed: int) -> None:
    """Takes whatever is ready first; another process may be quicker."""
    rng = random.Random(seed)
    taken: list[list[int]] = [[] for _ in queues]
    open_ = dict(enumerate(queues))
    while open_:
        for q in connection.wait(list(open_.values()), rng.choice([None, 0.001])):
            index = next(index for index, candidate in open_.items() if candidate is q)
            with contextlib.suppress(Empty):
                number = q.get_nowait()
                if number is None:
                    q.put(None)  # for the others
                    del open_[index]
                else:
                    taken[index].append(number)
    results.put(taken)


def _fill(q: Any, seed: int) -> None:
    rng = random.Random(seed)
    for number in range(4 * EACH):
        if rng.random() < 0.1:
            _a_moment(rng)
        q.put(number)
    q.put(None)


def test_processes_that_wait_for_the_same_queues_share_the_messages() -> None:
    ctx = tasuki.get_context("fork")
    queues = [ctx.Queue(), ctx.Queue(2), ctx.Queue(50)]
    results = ctx.Queue()
    takers = [ctx.Process(target=_compete, args=(queues, results, seed)) for seed in range(3)]
    fillers = [ctx.Process(target=_fill, args=(q, seed)) for seed, q in enumerate(queues)]
    for process in takers + fillers:
        process.start()
    taken = [results.get() for _ in takers]
    for process in takers + fillers:
        process.join()
        assert process.exitcode == 0
    for index in range(len(queues)):
        parts = [part[index] for part in taken]
        assert all(part == sorted(part) for part in parts)
        assert sorted(sum(parts, [])) == list(range(4 * EACH))


async def _cancelled_at_random(make: Callable[[], Any], rng: random.Random) -> Any:
    """What `make()` returns in the end, after having been cancelled and begun again any number of times."""
    while True:
        task = asyncio.ensure_future(make())
        for _ in range(rng.randrange(3)):
            await asyncio.sleep(0)
        if rng.random() < 0.7:
            await asyncio.wait([task], timeout=rng.random() * 0.003)
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            continue


def test_cancelled_gets_lose_no_message() -> None:
    """Several tasks on each queue, all of them cancelled again and again, while another process takes from them, too."""
    ctx = tasuki.get_context("fork")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    queues = [ctx.Queue(), ctx.Queue(2), ctx.SimpleQueue(), ctx.JoinableQueue(20)]
    fillers = [ctx.Process(target=_fill, args=(q, index)) for index, q in enumerate(queues)]
    results = ctx.Queue()
    other = ctx.Process(target=_compete, args=(queues[:1], results, seed))
    taken: list[list[int]] = [[] for _ in queues]

    async def take(index: int, rng: random.Random) -> None:
        while (number := await _cancelled_at_random(queues[index].aget, rng)) is not None:
            taken[index].append(number)
        await queues[index].aput(None)  # for the others

    async def main() -> None:
        rng = random.Random(seed)
        takers = [take(index, random.Random(rng.random())) for index in range(len(queues)) for _ in range(3)]
        await asyncio.gather(*takers)

    for process in (*fillers, other):
        process.start()
    asyncio.run(main())
    taken[0] += results.get()[0]
    for process in (*fillers, other):
        process.join()
        assert process.exitcode == 0
    for numbers in taken:
        assert sorted(numbers) == list(range(4 * EACH))


def _take_in_order(q: Any, seed: int) -> None:
    """Fails at the first number that is missing or comes twice."""
    rng = random.Random(seed)
    for number in range(EACH):
        _a_moment(rng)
        assert q.get() == (number, "x" * (number % 50))


def test_cancelled_puts_put_nothing() -> None:
    ctx = tasuki.get_context("fork")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    queues = [ctx.Queue(1), ctx.Queue(2), ctx.JoinableQueue(5)]
    readers = [ctx.Process(target=_take_in_order, args=(q, index)) for index, q in enumerate(queues)]

    async def fill(q: Any, rng: random.Random) -> None:
        for number in range(EACH):
            await _cancelled_at_random(lambda: q.aput((number, "x" * (number % 50))), rng)

    async def main() -> None:
        rng = random.Random(seed)
        await asyncio.gather(*(fill(q, random.Random(rng.random())) for q in queues))

    for process in readers:
        process.start()
    asyncio.run(main())
    for process in readers:
        process.join()
        assert process.exitcode == 0
    assert all(q.empty() for q in queues)


def test_asyncio_hears_of_pipes_sockets_processes_and_queues_alike() -> None:
    """Pipes and sentinels by `add_reader`, as any program does it; queues by `aget`, cancelled at random."""
    ctx = tasuki.get_context("fork")
    seed = random.randrange(1 << 32)
    print("seed", seed)
    q, (reader, writer), (ours, theirs) = ctx.Queue(), ctx.Pipe(duplex=False), socket.socketpair()
    sources = [_pipe_source(reader), _socket_source(ours)]
    senders: list[Callable[[int], object]] = [
        writer.send,
        lambda number: theirs.sendall(struct.pack("i", number)),
        q.put,
    ]
    answers = [ctx.Queue() for _ in senders]
    processes = [
        ctx.Process(target=_send, args=(send, answer, seed + index))
        for index, (send, answer) in enumerate(zip(senders, answers, strict=True))
    ]
    for process in processes:
        process.start()
    heard: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        ended = [asyncio.Event() for _ in processes]

        def on_readable(source: Source, answer: Any) -> None:
            number = source.take()
            if number is not None:
                source.got.append(number)
                answer.put(number)

        for source, answer in zip(sources, answers, strict=False):
            loop.add_reader(source.waitable.fileno(), on_readable, source, answer)
        for process, event in zip(processes, ended, strict=True):
            loop.add_reader(process.sentinel, event.set)
        rng = random.Random(seed)
        for _ in range(EACH):
            number = await _cancelled_at_random(q.aget, rng)
            heard.append(number)
            await answers[2].aput(number)
        for process, event in zip(processes, ended, strict=True):
            await event.wait()
            loop.remove_reader(process.sentinel)
        for source in sources:
            loop.remove_reader(source.waitable.fileno())

    asyncio.run(main())
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert heard == list(range(EACH))
    assert all(source.got == list(range(EACH)) for source in sources)
    for end in (reader, writer, ours, theirs):
        end.close()


def _shut_down_later(q: Any, seed: int) -> None:
    time.sleep(random.Random(seed).random() * 0.005)
    q.shutdown()


def test_all_who_wait_hear_of_a_shutdown() -> None:
    ctx = tasuki.get_context("fork")

    async def waits(call: Callable[[], Any]) -> None:
        with pytest.raises(tasuki.ShutDown):
            await call()

    async def main(empty: Any, full: Any) -> None:
        await asyncio.gather(*(waits(empty.aget) for _ in range(5)), *(waits(lambda: full.aput(1)) for _ in range(5)))

    for seed in range(100 if SOAK else 15):
        empty, full = ctx.Queue(), ctx.Queue(1)
        full.put(0)
        processes = [ctx.Process(target=_shut_down_later, args=(q, seed)) for q in (empty, full)]
        for process in processes:
            process.start()
        asyncio.run(main(empty, full))
        for process in processes:
            process.join()
            assert process.exitcode == 0
        with pytest.raises((tasuki.ShutDown, Full)):
            full.put_nowait(1)
