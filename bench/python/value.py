"""What does it cost to change a shared value under its lock?"""

import multiprocessing

from questions import Question, Side, timed


def add(package: str):
    """`with value.get_lock(): value.value += 1`"""

    def run(times: int) -> tuple[int, float]:
        if package == "tasuki":
            import tasuki

            value = tasuki.Value("q", 0)
        else:
            value = multiprocessing.Value("q", 0)

        def work() -> None:
            for _ in range(times):
                with value.get_lock():
                    value.value += 1

        seconds = timed(work)
        assert value.value == times
        return times, seconds

    return run


QUESTIONS = [
    Question(
        "py-value-add",
        "`v.value += 1` under its lock",
        [Side("tasuki", add("tasuki")), Side("multiprocessing", add("multiprocessing"), 4)],
    ),
]
