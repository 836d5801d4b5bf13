"""How long does a round take of those who wait for each other?"""

from questions import Question, Side, package
from team import run as run_team


def rounds(name: str, parties: int):
    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        barrier = context.Barrier(parties)

        def play() -> int:
            return sum(barrier.wait() == 0 for _ in range(times))

        seconds, firsts = run_team(context, [play] * parties)
        assert firsts == times, "each round has one first"
        return times, seconds

    return run


def question(parties: int) -> Question:
    sides = [
        Side("tasuki", rounds("tasuki", parties)),
        Side("multiprocessing", rounds("multiprocessing", parties)),
    ]
    return Question(f"py-barrier-{parties}", f"Barrier, a round of {parties}", sides)


QUESTIONS = [question(2), question(4)]
