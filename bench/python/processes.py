"""What does it cost to start a process of each kind and to wait for its end?"""

import os

from questions import Question, Side, package, timed


def nothing() -> None:
    pass


def start_and_join(name: str, method: str):
    def run(times: int) -> tuple[int, float]:
        # Or a spawned process compiles a checkout's files, the standard library's never.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        context = package(name).get_context(method)
        codes = []

        def work(count: int) -> None:
            for _ in range(count):
                process = context.Process(target=nothing)
                process.start()
                process.join()
                codes.append(process.exitcode)

        work(1)  # the server of forkserver, and what is compiled at the first time
        seconds = timed(lambda: work(times))
        assert codes == [0] * (times + 1)
        return times, seconds

    return run


def question(method: str) -> Question:
    sides = [
        Side("tasuki", start_and_join("tasuki", method)),
        Side("multiprocessing", start_and_join("multiprocessing", method), 1),
    ]
    return Question(f"py-process-{method}", f"start and join a process, {method}", sides)


QUESTIONS = [question(method) for method in ("fork", "spawn", "forkserver")]
