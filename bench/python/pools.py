"""What does a task cost that is given to the standard library's own Pool and ProcessPoolExecutor, over queues of either package?

The classes are the same on both sides: `tasuki.Pool` is the standard Pool, and an executor takes a context.
"""

from concurrent.futures import ProcessPoolExecutor

from questions import Question, Side, package, timed

WORKERS = 2


def double(number: int) -> int:
    return 2 * number


def doubled(times: int) -> int:
    return times * (times - 1)


def apply(name: str):
    """`pool.apply` again and again: each task is asked for when the one before it has answered."""

    def run(times: int) -> tuple[int, float]:
        with package(name).get_context("fork").Pool(WORKERS) as pool:
            pool.map(double, range(2 * WORKERS))
            results = []
            seconds = timed(lambda: results.extend(pool.apply(double, (number,)) for number in range(times)))
        assert sum(results) == doubled(times)
        return times, seconds

    return run


def apply_async(name: str):
    """All tasks are given before the first answer is looked at."""

    def run(times: int) -> tuple[int, float]:
        with package(name).get_context("fork").Pool(WORKERS) as pool:
            pool.map(double, range(2 * WORKERS))
            results = []

            def work() -> None:
                given = [pool.apply_async(double, (number,)) for number in range(times)]
                results.extend(task.get() for task in given)

            seconds = timed(work)
        assert sum(results) == doubled(times)
        return times, seconds

    return run


def mapped(name: str):
    """`pool.map` in the chunks that it chooses."""

    def run(times: int) -> tuple[int, float]:
        with package(name).get_context("fork").Pool(WORKERS) as pool:
            pool.map(double, range(2 * WORKERS))
            results = []
            seconds = timed(lambda: results.extend(pool.map(double, range(times))))
        assert sum(results) == doubled(times)
        return times, seconds

    return run


def submit(name: str):
    """`executor.submit(..).result()` again and again."""

    def run(times: int) -> tuple[int, float]:
        with ProcessPoolExecutor(WORKERS, mp_context=package(name).get_context("fork")) as executor:
            list(executor.map(double, range(2 * WORKERS)))
            results = []

            def work() -> None:
                results.extend(executor.submit(double, number).result() for number in range(times))

            seconds = timed(work)
        assert sum(results) == doubled(times)
        return times, seconds

    return run


def executor_map(name: str):
    """`executor.map` with a task for each number."""

    def run(times: int) -> tuple[int, float]:
        with ProcessPoolExecutor(WORKERS, mp_context=package(name).get_context("fork")) as executor:
            list(executor.map(double, range(2 * WORKERS)))
            results = []
            seconds = timed(lambda: results.extend(executor.map(double, range(times))))
        assert sum(results) == doubled(times)
        return times, seconds

    return run


def sides(measure) -> list[Side]:
    return [Side("tasuki", measure("tasuki")), Side("multiprocessing", measure("multiprocessing"), 1)]


QUESTIONS = [
    Question("py-pool-apply", "standard Pool, apply()", sides(apply)),
    Question("py-pool-async", "standard Pool, apply_async(), many at once", sides(apply_async)),
    Question("py-pool-map", "standard Pool, map()", sides(mapped)),
    Question("py-executor-submit", "ProcessPoolExecutor, one task at a time", sides(submit)),
    Question("py-executor-map", "ProcessPoolExecutor, map()", sides(executor_map)),
]
