"""How fast do small objects go through the other kinds of queues: SimpleQueue, and JoinableQueue with task_done and join?"""

import team
from questions import Question, Side, package


def simple(name: str):
    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        queue = context.SimpleQueue()

        def produce() -> int:
            for number in range(times):
                queue.put(number)
            return 0

        def consume() -> int:
            return sum(queue.get() for _ in range(times))

        seconds, result = team.run(context, [produce, consume])
        assert result == times * (times - 1) // 2 and queue.empty()
        return times, seconds

    return run


def joinable(name: str):
    """The producer waits until every task is done; two workers report them one by one."""

    def run(times: int) -> tuple[int, float]:
        total = times + times % 2
        context = package(name).get_context("fork")
        queue = context.JoinableQueue(1000)

        def produce() -> int:
            for number in range(total):
                queue.put(number)
            queue.join()
            return 0

        def work() -> int:
            result = 0
            for _ in range(total // 2):
                result += queue.get()
                queue.task_done()
            return result

        seconds, result = team.run(context, [produce, work, work])
        assert result == total * (total - 1) // 2, "each task came once"
        return total, seconds

    return run


def sides(measure, goal: float | None) -> list[Side]:
    return [Side("tasuki", measure("tasuki")), Side("multiprocessing", measure("multiprocessing"), goal)]


QUESTIONS = [
    Question("py-queue-simple", "SimpleQueue, int, 1:1", sides(simple, None)),
    Question("py-queue-joinable", "JoinableQueue, int, 1:2, task_done", sides(joinable, None)),
]
