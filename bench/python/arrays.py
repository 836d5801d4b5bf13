"""What does it cost to read and write elements of a shared array, one by one and many at once?"""

from questions import Question, Side, package, timed

SIZE = 1000


def add(name: str, locked: bool):
    """`array[i] += 1`"""

    def run(times: int) -> tuple[int, float]:
        make = package(name).Array if locked else package(name).RawArray
        array = make("q", SIZE)

        def work() -> None:
            for index in range(times):
                array[index % SIZE] += 1

        seconds = timed(work)
        assert sum(array) == times
        return times, seconds

    return run


def read(name: str):
    """`array[i]` of an array without a lock."""

    def run(times: int) -> tuple[int, float]:
        array = package(name).Array("i", range(SIZE), lock=False)

        def work() -> int:
            last = 0
            for index in range(times):
                last = array[index % SIZE]
            return last

        seconds = timed(lambda: results.append(work()))
        assert results.pop() == (times - 1) % SIZE
        return times, seconds

    results: list[int] = []
    return run


def write(name: str):
    """`array[i] = n` of an array without a lock."""

    def run(times: int) -> tuple[int, float]:
        array = package(name).Array("i", SIZE, lock=False)

        def work() -> None:
            for index in range(times):
                array[index % SIZE] = index

        seconds = timed(work)
        assert array[(times - 1) % SIZE] == times - 1
        return times, seconds

    return run


def copy(name: str):
    """`array[:] = numbers; array[:]`"""

    def run(times: int) -> tuple[int, float]:
        array = package(name).Array("q", SIZE)
        numbers = list(range(SIZE))

        def work() -> None:
            for _ in range(times):
                array[:] = numbers
                assert len(array[:]) == SIZE

        seconds = timed(work)
        assert array[:] == numbers
        return times, seconds

    return run


def fetch_add(times: int) -> tuple[int, float]:
    array = package("tasuki").Array("q", SIZE)

    def work() -> None:
        add = array.fetch_add
        for index in range(times):
            add(index % SIZE, 1)

    seconds = timed(work)
    assert sum(array) == times
    return times, seconds


def locked_add(times: int) -> tuple[int, float]:
    array = package("multiprocessing").Array("q", SIZE)

    def work() -> None:
        lock = array.get_lock()
        for index in range(times):
            with lock:
                array[index % SIZE] += 1

    seconds = timed(work)
    assert sum(array) == times
    return times, seconds


def sides(measure, *args, goal: float | None = None) -> list[Side]:
    ours, theirs = (measure(name, *args) for name in ("tasuki", "multiprocessing"))
    return [Side("tasuki", ours), Side("multiprocessing", theirs, goal)]


QUESTIONS = [
    Question("py-array-item", "`Array[i] += 1`", sides(add, True)),
    Question("py-rawarray-item", "`RawArray[i] += 1`", sides(add, False, goal=1)),
    Question("py-array-read", "`Array(.., lock=False)[i]`", sides(read, goal=1)),
    Question("py-array-write", "`Array(.., lock=False)[i] = n`", sides(write, goal=1)),
    Question("py-array-slice", "Array, 1000 items in and out", sides(copy)),
    Question(
        "py-array-atomic",
        "an exact add: fetch_add, locked +=",
        [Side("tasuki", fetch_add), Side("multiprocessing", locked_add)],
    ),
]
