"""aget and aput: no loop is blocked, no wake-up is lost, and a cancelled wait takes nothing."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
import random
import weakref
from typing import Any

import pytest

import tasuki
from deadlines import WATCHDOG

pytestmark = pytest.mark.filterwarnings("error")


def run(main: Any) -> Any:
    """Runs a coroutine; a watchdog beside it, since a lost wake-up would hang."""
    return asyncio.run(asyncio.wait_for(main, WATCHDOG))


def test_what_is_there_is_taken_at_once() -> None:
    async def main() -> None:
        q: Any = tasuki.Queue()
        await q.aput(1)
        await q.aput("two")
        assert await q.aget() == 1
        assert await q.aget() == "two"

    run(main())


def test_a_wait_does_not_block_the_loop() -> None:
    async def main() -> None:
        q: Any = tasuki.Queue(1)
        getting = asyncio.create_task(q.aget())
        await asyncio.sleep(0.05)
        assert not getting.done()
        q.put("x")
        assert await getting == "x"
        q.put("full")
        putting = asyncio.create_task(q.aput("y"))
        await asyncio.sleep(0.05)
        assert not putting.done()
        assert q.get() == "full"
        await putting
        assert q.get() == "y"

    run(main())


def test_waiters_are_served_in_their_order() -> None:
    async def main() -> None:
        q: Any = tasuki.Queue()
        order: list[tuple[int, int]] = []

        async def get(who: int) -> None:
            order.append((who, await q.aget()))

        tasks = [asyncio.create_task(get(who)) for who in range(20)]
        await asyncio.sleep(0)
        for number in range(20):
            q.put(number)
            if number % 3 == 0:
                await asyncio.sleep(0.01)
        await asyncio.gather(*tasks)
        assert order == [(n, n) for n in range(20)]

    run(main())


def test_a_cancelled_wait_takes_nothing() -> None:
    async def main() -> None:
        q: Any = tasuki.Queue()
        for when in ("before", "at the same time"):
            task = asyncio.create_task(q.aget())
            await asyncio.sleep(0.02)
            if when == "at the same time":
                q.put("kept")
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            if when == "before":
                q.put("kept")
            assert await q.aget() == "kept"

    run(main())


def test_a_wake_up_of_who_is_cancelled_goes_to_the_next() -> None:
    async def main() -> None:
        q: Any = tasuki.Queue()
        for number in range(50):
            first, second = (asyncio.create_task(q.aget()) for _ in range(2))
            await asyncio.sleep(0)
            q.put(number)
            for _ in range(number % 5):
                await asyncio.sleep(0)
            if first.cancel():
                assert await second == number
            else:
                assert first.result() == number
                second.cancel()
            await asyncio.gather(first, second, return_exceptions=True)

    run(main())


def test_a_timeout_loses_nothing() -> None:
    async def main() -> None:
        q: Any = tasuki.Queue()
        rng = random.Random(1)
        got: list[int] = []

        async def put() -> None:
            for number in range(300):
                await asyncio.sleep(rng.random() * 0.002)
                q.put(number)

        async def get() -> None:
            while len(got) < 300:
                try:
                    got.append(await asyncio.wait_for(q.aget(), rng.random() * 0.002))
                except TimeoutError:
                    pass

        await asyncio.gather(put(), get())
        assert got == list(range(300))

    run(main())


def test_what_is_put_is_taken_as_it_was_when_aput_was_called() -> None:
    async def main() -> None:
        q: Any = tasuki.Queue(1)
        q.put("full")
        data = [1]
        task = asyncio.create_task(q.aput(data))
        await asyncio.sleep(0.02)
        data.append(2)
        assert q.get() == "full"
        await task
        assert q.get() == [1]
        q.put("full")
        with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
            await q.aput(lambda: None)

    run(main())


def test_the_loop_watches_only_while_somebody_waits() -> None:
    async def main() -> None:
        q: Any = tasuki.Queue()
        loop: Any = asyncio.get_running_loop()
        watched = len(loop._selector.get_map())
        tasks = [asyncio.create_task(q.aget()) for _ in range(3)]
        await asyncio.sleep(0.02)
        assert len(loop._selector.get_map()) == watched + 1
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert len(loop._selector.get_map()) == watched

    run(main())


def test_nothing_is_kept_alive() -> None:
    q: Any = tasuki.Queue()

    async def main() -> Any:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(q.aget(), 0.01)
        return weakref.ref(asyncio.get_running_loop())

    loop = run(main())
    gc.collect()
    assert loop() is None
    # Another loop, another wait.
    q.put(1)
    run(main_gets(q, 1))
    queue = weakref.ref(q)
    main = q = None
    gc.collect()
    assert queue() is None


async def main_gets(q: Any, expected: object) -> None:
    assert await q.aget() == expected


def test_shutdown_ends_the_waits() -> None:
    async def main() -> None:
        empty: Any = tasuki.Queue()
        full: Any = tasuki.Queue(1)
        full.put(1)
        tasks = [asyncio.create_task(wait) for wait in (empty.aget(), empty.aget(), full.aput(2), full.aput(3))]
        await asyncio.sleep(0.05)
        empty.shutdown()
        full.shutdown()
        for result in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(result, tasuki.ShutDown)

    run(main())


def _square(numbers: Any, squares: Any) -> None:
    for number in iter(numbers.get, None):
        squares.put(number * number)


def test_between_processes(ctx: Any) -> None:
    async def main() -> None:
        numbers, squares = ctx.Queue(3), ctx.Queue(3)
        processes = [ctx.Process(target=_square, args=(numbers, squares)) for _ in range(2)]
        for process in processes:
            process.start()

        async def ask() -> None:
            for number in range(300):
                await numbers.aput(number)
            for _ in processes:
                await numbers.aput(None)

        async def take() -> list[int]:
            return [await squares.aget() for _ in range(100)]

        _, *parts = await asyncio.gather(ask(), take(), take(), take())
        assert sorted(sum(parts, [])) == [n * n for n in range(300)]
        for process in processes:
            process.join(120)

    run(main())


def _put_slowly(q: Any, many: int) -> None:
    for number in range(many):
        q.put((os.getpid(), number))


def test_no_message_is_lost_between_cancelled_waits_of_two_loops(ctx: Any) -> None:
    """Two processes take by cancelled waits what two put; together it is everything, once."""
    q, got = ctx.Queue(), ctx.Queue()
    putters = [ctx.Process(target=_put_slowly, args=(q, 500)) for _ in range(2)]
    takers = [ctx.Process(target=_take_restlessly, args=(q, got, seed)) for seed in range(2)]
    for process in putters + takers:
        process.start()
    everything = []
    for _ in range(1000):
        everything.append(got.get(timeout=120))
    assert len(set(everything)) == 1000
    q.shutdown()
    for process in putters + takers:
        process.join(120)
        assert process.exitcode == 0


def _take_restlessly(q: Any, got: Any, seed: int) -> None:
    rng = random.Random(seed)

    async def main() -> None:
        while True:
            tasks = [asyncio.create_task(q.aget()) for _ in range(3)]
            await asyncio.sleep(rng.random() * 0.003)
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, tasuki.ShutDown):
                    return
                if not isinstance(result, asyncio.CancelledError):
                    got.put(result)

    asyncio.run(main())
