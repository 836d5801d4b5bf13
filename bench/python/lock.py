"""What does a lock cost that nobody else wants?"""

import multiprocessing

from questions import Question, Side, timed


def pair(package: str):
    """acquire() and release()."""

    def run(times: int) -> tuple[int, float]:
        lock = make(package)

        def work() -> None:
            acquire, release = lock.acquire, lock.release
            for _ in range(times):
                acquire()
                release()

        return times, check(lock, timed(work))

    return run


def section(package: str):
    """`with lock:`"""

    def run(times: int) -> tuple[int, float]:
        lock = make(package)

        def work() -> None:
            for _ in range(times):
                with lock:
                    pass

        return times, check(lock, timed(work))

    return run


def make(package: str):
    if package == "tasuki":
        import tasuki

        return tasuki.Lock()
    return multiprocessing.Lock()


def check(lock, seconds: float) -> float:
    assert lock.acquire(False) and not lock.acquire(False), "it was free, and it locks"
    return seconds


QUESTIONS = [
    Question(
        "py-lock-pair",
        "Lock, acquire() and release()",
        [Side("tasuki", pair("tasuki")), Side("multiprocessing", pair("multiprocessing"), 1)],
    ),
    Question(
        "py-lock-with",
        "`with lock:`",
        [Side("tasuki", section("tasuki")), Side("multiprocessing", section("multiprocessing"), 2)],
    ),
]
