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


def question(kind: str, *args, what: str = "") -> Question:
    sides = [
        Side("tasuki", create("tasuki", kind, *args)),
        Side("multiprocessing", create("multiprocessing", kind, *args), 1),
    ]
    name = "-".join(["py-create", kind.lower(), *what.split()])
    return Question(name, f"create and drop a {kind}{what and ', ' + what}", sides)


QUESTIONS = [
    question("Queue"),
    question("SimpleQueue"),
    question("JoinableQueue"),
    question("Pipe"),
    question("Pipe", False, what="one way"),
    question("Lock"),
    question("Semaphore"),
    question("Event"),
    question("Condition"),
    question("Barrier", 2),
    question("Value", "q", 0),
    question("Array", "q", 1000),
]
