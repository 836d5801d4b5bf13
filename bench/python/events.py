"""What does it cost to look at an event, to set it, and how long until somebody who waits has answered?"""

from questions import Question, Side, package, timed
from team import run as run_team


def is_set(name: str):
    def run(times: int) -> tuple[int, float]:
        event = package(name).Event()
        event.set()

        def work() -> None:
            is_set = event.is_set
            for _ in range(times):
                is_set()

        seconds = timed(work)
        assert event.is_set()
        return times, seconds

    return run


def set_and_clear(name: str):
    def run(times: int) -> tuple[int, float]:
        event = package(name).Event()

        def work() -> None:
            for _ in range(times):
                event.set()
                event.clear()

        seconds = timed(work)
        assert not event.is_set()
        return times, seconds

    return run


def round_trip(name: str):
    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        question, answer = context.Event(), context.Event()

        def ask() -> int:
            seen = 0
            for _ in range(times):
                question.set()
                seen += answer.wait()
                answer.clear()
            return seen

        def reply() -> int:
            seen = 0
            for _ in range(times):
                seen += question.wait()
                question.clear()
                answer.set()
            return seen

        seconds, seen = run_team(context, [ask, reply])
        assert seen == 2 * times
        return times, seconds

    return run


def sides(measure, goal: float | None = None) -> list[Side]:
    return [Side("tasuki", measure("tasuki")), Side("multiprocessing", measure("multiprocessing"), goal)]


QUESTIONS = [
    Question("py-event-is-set", "Event.is_set()", sides(is_set, 15)),
    Question("py-event-set-clear", "Event, set() and clear()", sides(set_and_clear)),
    Question("py-event-round-trip", "round trip, two Events", sides(round_trip)),
]
