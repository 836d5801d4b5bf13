"""How fast do small objects go through a queue: an int, a tuple of an int, a float and a string?"""

from questions import Question, Side
from queues import faster_fifo_queue, flow, standard_queue, tasuki_queue

CAPACITY = 1000


def ints(queue, producers: int, consumers: int, capacity: int = CAPACITY):
    def values(producer: int, count: int):
        return range(producer * count, (producer + 1) * count)

    def run(operations: int) -> tuple[int, float]:
        made = queue(capacity, 64)
        total, seconds, result = flow(made, producers, consumers, operations, values, int)
        assert result == total * (total - 1) // 2, "each number came once"
        return total, seconds

    return run


def tuples(queue, producers: int, consumers: int):
    def values(producer: int, count: int):
        return ((number, 0.5, "name") for number in range(producer * count, (producer + 1) * count))

    def run(operations: int) -> tuple[int, float]:
        made = queue(CAPACITY, 128)
        total, seconds, result = flow(made, producers, consumers, operations, values, lambda value: value[0])
        assert result == total * (total - 1) // 2, "each tuple came once"
        return total, seconds

    return run


def sides(kind, producers: int, consumers: int, standard: float, fifo: float | None, **more):
    return [
        Side("tasuki", kind(tasuki_queue, producers, consumers, **more)),
        Side("multiprocessing", kind(standard_queue, producers, consumers, **more), standard),
        Side("faster-fifo", kind(faster_fifo_queue, producers, consumers, **more), fifo, "faster_fifo"),
    ]


QUESTIONS = [
    Question("py-queue-int-1-1", "Queue, int, 1:1", sides(ints, 1, 1, 20, None)),
    Question("py-queue-int-4-4", "Queue, int, 4:4", sides(ints, 4, 4, 10, 10)),
    Question(
        "py-queue-int-unbounded",
        "Queue without a limit, int, 1:1",
        [
            Side("tasuki", ints(tasuki_queue, 1, 1, capacity=0)),
            Side("multiprocessing", ints(standard_queue, 1, 1, capacity=0), 20),
        ],
    ),
    Question("py-queue-tuple-1-1", "Queue, small tuple, 1:1", sides(tuples, 1, 1, 5, None)),
    Question("py-queue-tuple-4-4", "Queue, small tuple, 4:4", sides(tuples, 4, 4, 5, None)),
]
