"""How fast do small objects go through a queue a hundred at a time: put_many and get_many?"""

from queue import Empty

import team
from questions import Question, Side
from queues import faster_fifo_queue, standard_queue, tasuki_queue

CAPACITY = 1000
MANY = 100


def put_batches(queue, numbers: range) -> None:
    queue.put_many(list(numbers))


def put_one_by_one(queue, numbers: range) -> None:
    for number in numbers:
        queue.put(number)


def get_tasuki(queue, most: int) -> list[int]:
    return queue.get_many(most)


def get_faster_fifo(queue, most: int) -> list[int]:
    try:
        return queue.get_many(max_messages_to_get=most)
    except Empty:  # another consumer was quicker
        return []


def get_one(queue, most: int) -> list[int]:
    return [queue.get()]


def batches(make, put, get, producers: int, consumers: int):
    """A batch to a consumer may hold any number of messages, so consumers ask for what they still lack."""

    def run(operations: int) -> tuple[int, float]:
        context, queue = make(CAPACITY, 64)
        step = producers * consumers * MANY
        total = -(-operations // step) * step

        def producer(index: int):
            def work() -> int:
                share = total // producers
                for start in range(index * share, (index + 1) * share, MANY):
                    put(queue, range(start, start + MANY))
                if hasattr(queue, "join_thread"):
                    queue.close()
                    queue.join_thread()
                return 0

            return work

        def consume() -> int:
            left, result = total // consumers, 0
            while left:
                got = get(queue, min(left, MANY))
                left -= len(got)
                result += sum(got)
            return result

        workers = [producer(index) for index in range(producers)] + [consume] * consumers
        seconds, result = team.run(context, workers)
        assert result == total * (total - 1) // 2, "each number came once"
        return total, seconds

    return run


def sides(producers: int, consumers: int, goals: tuple[float | None, float | None]) -> list[Side]:
    where = (producers, consumers)
    standard, fifo = goals
    return [
        Side("tasuki", batches(tasuki_queue, put_batches, get_tasuki, *where)),
        Side("tasuki, one by one", batches(tasuki_queue, put_one_by_one, get_one, *where)),
        Side("multiprocessing", batches(standard_queue, put_one_by_one, get_one, *where), standard),
        Side(
            "faster-fifo, many", batches(faster_fifo_queue, put_batches, get_faster_fifo, *where), fifo, "faster_fifo"
        ),
    ]


QUESTIONS = [
    Question("py-batches-1-1", "Queue, int by hundreds, 1:1", sides(1, 1, (None, None))),
    Question("py-batches-4-4", "Queue, int by hundreds, 4:4", sides(4, 4, (10, 10))),
]
