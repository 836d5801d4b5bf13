"""How fast do numpy arrays go through a queue?

tasuki's consumer gets an array over the shared memory in which the message lies, and reads it there; the others' get a
copy. All producers make each message anew and stamp its ends; all consumers read the stamps and one number of each page.
"""

from itertools import repeat

from questions import Question, Side
from queues import flow, standard_queue, tasuki_queue

MIB = 1 << 20


def arrays(queue, length: int, producers: int, consumers: int):
    def run(operations: int) -> tuple[int, float]:
        import numpy

        template = numpy.ones(length // 8, dtype="i8")
        pages = len(template[::512])

        def values(producer: int, count: int):
            return (template.copy() for _ in repeat(None, count))

        def check(array) -> int:
            assert array.shape == template.shape and array[0] == array[-1] == 1
            return int(array[::512].sum())

        total, seconds, result = flow(queue(16, length), producers, consumers, operations, values, check)
        assert result == total * pages, "every array came whole, once"
        return total, seconds

    return run


def sides(length: int, producers: int, consumers: int, goal: float | None) -> list[Side]:
    where = (length, producers, consumers)
    return [
        Side("tasuki", arrays(tasuki_queue, *where), needs="numpy"),
        Side("multiprocessing", arrays(standard_queue, *where), goal, "numpy"),
    ]


QUESTIONS = [
    Question("py-queue-numpy-1m", "Queue, 1 MiB array, 1:1", sides(MIB, 1, 1, 8)),
    Question("py-queue-numpy-16m", "Queue, 16 MiB array, 1:1", sides(16 * MIB, 1, 1, 8)),
    Question("py-queue-numpy-1m-4-4", "Queue, 1 MiB array, 4:4", sides(MIB, 4, 4, None)),
]
