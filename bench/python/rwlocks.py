"""What does it cost to read under a lock that nobody writes under, alone and beside another reader? The standard library has a Lock for that."""

from questions import Question, Side, package, timed
from team import run as run_team


def section(name: str):
    """`with lock.read():`, or `with lock:`"""

    def run(times: int) -> tuple[int, float]:
        reading = reader(name)

        def work() -> None:
            for _ in range(times):
                with reading():
                    pass

        return times, timed(work)

    return run


def together(name: str):
    """Two processes read, each for as long as it takes to look into a dict."""

    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        reading, table = reader(name), {number: number for number in range(100)}
        each = -(-times // 2)

        def work() -> int:
            seen = 0
            for number in range(each):
                with reading():
                    seen += table[number % 100] == number % 100
            return seen

        seconds, seen = run_team(context, [work, work])
        assert seen == 2 * each, "each look found its number"
        return 2 * each, seconds

    return run


def reader(name: str):
    context = package(name).get_context("fork")
    if name == "tasuki":
        return context.RwLock().read
    lock = context.Lock()
    return lambda: lock


def sides(question) -> list[Side]:
    return [Side("tasuki", question("tasuki")), Side("multiprocessing", question("multiprocessing"), 1.0)]


QUESTIONS = [
    Question("py-rwlock-read", "`with rwlock.read():`, a Lock there", sides(section)),
    Question("py-rwlock-read-2", "two read, a Lock there", sides(together)),
]
