"""The queues of all sides, and a run of producers and consumers over one of them."""

import multiprocessing
from collections.abc import Callable
from queue import Empty

import team


def fork(package):
    """The same way to start processes for all: what is measured is what happens afterwards."""
    return package.get_context("fork")


def tasuki_queue(capacity: int, length: int):
    """tasuki's queue; its context's processes use it."""
    import tasuki

    context = fork(tasuki)
    return context, context.Queue(capacity)


def standard_queue(capacity: int, length: int):
    """The standard library's queue."""
    context = fork(multiprocessing)
    return context, context.Queue(capacity)


def faster_fifo_queue(capacity: int, length: int):
    """faster-fifo's queue, bounded by bytes."""
    import faster_fifo

    size = max(1_000_000, capacity * (length + 64))
    return fork(multiprocessing), faster_fifo.Queue(max_size_bytes=size)


def is_faster_fifo(queue) -> bool:
    """Without importing it."""
    return type(queue).__module__.startswith("faster_fifo")


def trying_again(get: Callable) -> Callable:
    """faster-fifo's get raises Empty long before its timeout when another consumer was quicker."""

    def again():
        while True:
            try:
                return get()
            except Empty:
                pass

    return again


def flow(made, producers: int, consumers: int, operations: int, values: Callable, check: Callable):
    """Sends `values(producer, count)` from each producer; each consumer sums `check` of what it gets."""
    context, queue = made
    step = producers * consumers
    total = -(-operations // step) * step

    def produce(producer: int) -> Callable[[], int]:
        def work() -> int:
            put = queue.put
            for value in values(producer, total // producers):
                put(value)
            if hasattr(queue, "join_thread"):
                queue.close()
                queue.join_thread()
            return 0

        return work

    def consume() -> int:
        get = trying_again(queue.get) if consumers > 1 and is_faster_fifo(queue) else queue.get
        result = 0
        for _ in range(total // consumers):
            result += check(get())
        return result

    workers = [produce(producer) for producer in range(producers)] + [consume] * consumers
    seconds, result = team.run(context, workers)
    assert queue.empty(), "everything was taken"
    return total, seconds, result
