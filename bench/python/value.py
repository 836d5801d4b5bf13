"""What does it cost to change a shared value, under its lock and without one?"""

from questions import Question, Side, package, timed


def add(name: str):
    """`with value.get_lock(): value.value += 1`"""

    def run(times: int) -> tuple[int, float]:
        value = package(name).Value("q", 0)

        def work() -> None:
            for _ in range(times):
                with value.get_lock():
                    value.value += 1

        seconds = timed(work)
        assert value.value == times
        return times, seconds

    return run


def add_raw(name: str, raw: bool):
    """`value.value += 1` of a value without a lock."""

    def run(times: int) -> tuple[int, float]:
        value = package(name).RawValue("i", 0) if raw else package(name).Value("i", 0, lock=False)

        def work() -> None:
            for _ in range(times):
                value.value += 1

        seconds = timed(work)
        assert value.value == times
        return times, seconds

    return run


def sides(measure, *args, goal: float) -> list[Side]:
    ours, theirs = (measure(name, *args) for name in ("tasuki", "multiprocessing"))
    return [Side("tasuki", ours), Side("multiprocessing", theirs, goal)]


QUESTIONS = [
    Question("py-value-add", "`v.value += 1` under its lock", sides(add, goal=4)),
    Question("py-rawvalue-add", "`RawValue.value += 1`", sides(add_raw, True, goal=1)),
    Question("py-value-add-unlocked", "`Value(.., lock=False).value += 1`", sides(add_raw, False, goal=1)),
]
