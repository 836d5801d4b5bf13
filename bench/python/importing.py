"""How long does the import take, in a fresh interpreter that finds everything compiled, as after an installation?"""

import os
import subprocess
import sys

from questions import Question, Side

PROGRAM = """
import time
start = time.perf_counter()
import {package}
print(time.perf_counter() - start)
assert {package}.Queue
"""


def load(package: str):
    def run(times: int) -> tuple[int, float]:
        command = [sys.executable, "-c", PROGRAM.format(package=package)]
        # Or a checkout's files are compiled at each import, the standard library's never.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

        def once() -> float:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=30)
            return float(done.stdout)

        once()  # compiles what is not compiled yet
        return times, sum(once() for _ in range(times))

    return run


QUESTIONS = [
    Question(
        "py-import",
        "import",
        [Side("tasuki", load("tasuki")), Side("multiprocessing", load("multiprocessing"), 1)],
    ),
]
