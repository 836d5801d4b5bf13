"""What does a permit cost: one that is free, and one that four processes want two of?"""

from questions import Question, Side, package, timed
from team import only
from team import run as run_team


def pair(name: str):
    """acquire() and release(): nobody knows who has the permit."""

    def run(times: int) -> tuple[int, float]:
        semaphore = package(name).Semaphore(2)

        def work() -> None:
            acquire, release = semaphore.acquire, semaphore.release
            for _ in range(times):
                acquire()
                release()

        seconds = timed(work)
        assert semaphore.get_value() == 2
        return times, seconds

    return run


def section(name: str):
    """`with semaphore:`; tasuki gives the permit back when its holder is killed."""

    def run(times: int) -> tuple[int, float]:
        semaphore = package(name).Semaphore(2)

        def work() -> None:
            for _ in range(times):
                with semaphore:
                    pass

        seconds = timed(work)
        assert semaphore.get_value() == 2
        return times, seconds

    return run


def contended(name: str):
    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        semaphore = context.Semaphore(2)
        each = -(-times // 4)

        def work() -> int:
            for _ in range(each):
                with semaphore:
                    pass
            return each

        seconds, done = run_team(context, [work] * 4)
        assert (done, semaphore.get_value()) == (4 * each, 2)
        return done, seconds

    return run


def handed_over(name: str, processors: int):
    """Two processes hand one permit back and forth: each waits for the other, over two semaphores."""

    def run(times: int) -> tuple[int, float]:
        only(processors)
        context = package(name).get_context("fork")
        there, back = context.Semaphore(0), context.Semaphore(0)

        def first() -> int:
            for _ in range(times):
                there.release()
                back.acquire()
            return times

        def second() -> int:
            for _ in range(times):
                there.acquire()
                back.release()
            return times

        seconds, done = run_team(context, [first, second])
        assert (done, there.get_value(), back.get_value()) == (2 * times, 0, 0)
        return done, seconds

    return run


def sides(measure, *args, goal: float | None = None) -> list[Side]:
    ours, theirs = (measure(name, *args) for name in ("tasuki", "multiprocessing"))
    return [Side("tasuki", ours), Side("multiprocessing", theirs, goal)]


QUESTIONS = [
    Question("py-semaphore-pair", "Semaphore, acquire() and release()", sides(pair, goal=1)),
    Question("py-semaphore-with", "`with semaphore:`", sides(section)),
    Question(
        "py-semaphore-handover", "Semaphore, handed back and forth by two processes", sides(handed_over, 2, goal=1)
    ),
    Question("py-semaphore-handover-1", "Semaphore, the same on one processor", sides(handed_over, 1, goal=1)),
    Question("py-semaphore-4", "`with semaphore:`, 4 want 2", sides(contended)),
]
