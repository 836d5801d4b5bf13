"""What does a notification cost that nobody waits for, and how long until somebody who waits has answered?"""

from questions import Question, Side, package, timed
from team import run as run_team


def notify(name: str):
    def run(times: int) -> tuple[int, float]:
        condition = package(name).Condition()

        def work() -> None:
            for _ in range(times):
                with condition:
                    condition.notify()

        seconds = timed(work)
        assert condition.acquire(False)
        condition.release()
        return times, seconds

    return run


def round_trip(name: str):
    """Two players add to one number by turns."""

    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        condition = context.Condition()
        number = context.Value("q", 0, lock=False)

        def player(parity: int):
            def play() -> int:
                for _ in range(times):
                    with condition:
                        while number.value % 2 != parity:
                            condition.wait()
                        number.value += 1
                        condition.notify()
                return times

            return play

        seconds, _ = run_team(context, [player(0), player(1)])
        assert number.value == 2 * times
        return times, seconds

    return run


def sides(measure, goal: float | None = None) -> list[Side]:
    return [Side("tasuki", measure("tasuki")), Side("multiprocessing", measure("multiprocessing"), goal)]


QUESTIONS = [
    Question("py-condition-notify", "`with condition:` notify()", sides(notify)),
    Question("py-condition-round-trip", "round trip, a Condition", sides(round_trip)),
]
