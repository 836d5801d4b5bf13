"""How fast do bytes go through a queue, 1 KiB and 1 MiB at a time?"""

from itertools import cycle, islice

from questions import Question, Side
from queues import faster_fifo_queue, flow, standard_queue, tasuki_queue

KIB = 1 << 10
MIB = 1 << 20
KINDS = 8


def blobs(queue, length: int, producers: int, consumers: int):
    capacity = 16 if length > 64 * KIB else 1000
    # Eight messages by turns, which differ in their first and last byte and in their length.
    messages = [bytes([kind]) * (length - kind) for kind in range(KINDS)]

    def values(producer: int, count: int):
        return islice(cycle(messages), count)

    def check(message: bytes) -> int:
        assert message[0] == message[-1] == length - len(message)
        return len(message)

    def run(operations: int) -> tuple[int, float]:
        made = queue(capacity, length)
        total, seconds, result = flow(made, producers, consumers, operations, values, check)
        each = sum(len(message) for message in values(0, total // producers))
        assert result == producers * each, "every byte came once"
        return total, seconds

    return run


def sides(length: int, producers: int, consumers: int, goal: float, fifo: float | None):
    where = (length, producers, consumers)
    return [
        Side("tasuki", blobs(tasuki_queue, *where)),
        Side("multiprocessing", blobs(standard_queue, *where), goal),
        Side("faster-fifo", blobs(faster_fifo_queue, *where), fifo, "faster_fifo"),
    ]


QUESTIONS = [
    Question("py-queue-1k-1-1", "Queue, 1 KiB bytes, 1:1", sides(KIB, 1, 1, 20, None)),
    Question("py-queue-1k-4-4", "Queue, 1 KiB bytes, 4:4", sides(KIB, 4, 4, 10, 10)),
    Question("py-queue-1m-1-1", "Queue, 1 MiB bytes, 1:1", sides(MIB, 1, 1, 8, None)),
    Question("py-queue-1m-4-4", "Queue, 1 MiB bytes, 4:4", sides(MIB, 4, 4, 8, None)),
]
