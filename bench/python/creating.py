"""What does it cost to make an object, and to drop it again?"""

import multiprocessing

from questions import Question, Side, timed


def create(package: str, kind: str, *args):
    def run(times: int) -> tuple[int, float]:
        if package == "tasuki":
            import tasuki

            make = getattr(tasuki, kind)
        else:
            make = getattr(multiprocessing, kind)
        assert make(*args) is not make(*args)

        def work() -> None:
            for _ in range(times):
                make(*args)

        return times, timed(work)

    return run


def question(kind: str, *args) -> Question:
    sides = [
        Side("tasuki", create("tasuki", kind, *args)),
        Side("multiprocessing", create("multiprocessing", kind, *args), 1),
    ]
    return Question(f"py-create-{kind.lower()}", f"create and drop a {kind}", sides)


QUESTIONS = [
    question("Queue"),
    question("SimpleQueue"),
    question("JoinableQueue"),
    question("Pipe"),
    question("Lock"),
    question("Semaphore"),
    question("Event"),
    question("Condition"),
    question("Barrier", 2),
    question("Value", "q", 0),
    question("Array", "q", 1000),
]
