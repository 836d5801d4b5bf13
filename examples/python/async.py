"""A program on an event loop that has another process compute, and goes on meanwhile.

`aget` and `aput` wait without blocking the loop, so they can be given a timeout, cancelled, and run beside each other. A
get that is cancelled takes nothing: the answer it was waiting for is there for the next one.
"""

import asyncio

import tasuki


def square(numbers, squares):
    for number in iter(numbers.get, None):
        squares.put(number * number)


async def tick(ticks):
    while True:
        ticks.append(None)
        await asyncio.sleep(0.01)


async def main():
    numbers, squares = tasuki.Queue(4), tasuki.Queue(4)
    process = tasuki.Process(target=square, args=(numbers, squares))
    process.start()
    ticks = []
    ticker = asyncio.create_task(tick(ticks))
    try:
        await asyncio.wait_for(squares.aget(), timeout=0.2)
    except TimeoutError:
        print("no answer in time")
    print("the program went on meanwhile:", len(ticks) > 1)

    async def ask():
        for number in range(1, 101):
            await numbers.aput(number)
        await numbers.aput(None)

    async def add():
        return sum([await squares.aget() for _ in range(100)])

    _, total = await asyncio.gather(ask(), add())
    print("sum of the squares:", total)
    ticker.cancel()
    process.join()


if __name__ == "__main__":
    asyncio.run(main())
