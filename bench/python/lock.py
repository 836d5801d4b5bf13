"""What does a lock cost that nobody else wants, and one that two processes hand to each other?"""

from questions import Question, Side, package, timed
from team import only
from team import run as run_team


def pair(name: str):
    """acquire() and release()."""

    def run(times: int) -> tuple[int, float]:
        lock = make(name)

        def work() -> None:
            acquire, release = lock.acquire, lock.release
            for _ in range(times):
                acquire()
                release()

        return times, check(lock, timed(work))

    return run


def section(name: str):
    """`with lock:`"""

    def run(times: int) -> tuple[int, float]:
        lock = make(name)

        def work() -> None:
            for _ in range(times):
                with lock:
                    pass

        return times, check(lock, timed(work))

    return run


def handed_over(name: str, processors: int):
    """Two processes free two locks for each other by turns, as any process may; each waits for the other."""

    def run(times: int) -> tuple[int, float]:
        only(processors)
        context = package(name).get_context("fork")
        there, back = context.Lock(), context.Lock()
        assert there.acquire() and back.acquire()

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
        assert done == 2 * times and there._semlock._is_zero() and back._semlock._is_zero()
        return done, seconds

    return run


def make(name: str):
    return package(name).Lock()


def check(lock, seconds: float) -> float:
    assert lock.acquire(False) and not lock.acquire(False), "it was free, and it locks"
    return seconds


def sides(measure, *args, goal: float) -> list[Side]:
    ours, theirs = (measure(name, *args) for name in ("tasuki", "multiprocessing"))
    return [Side("tasuki", ours), Side("multiprocessing", theirs, goal)]


QUESTIONS = [
    Question("py-lock-pair", "Lock, acquire() and release()", sides(pair, goal=1)),
    Question("py-lock-with", "`with lock:`", sides(section, goal=2)),
    Question("py-lock-handover", "Lock, handed back and forth by two processes", sides(handed_over, 2, goal=1)),
    Question("py-lock-handover-1", "Lock, the same on one processor", sides(handed_over, 1, goal=1)),
]
