"""How long does the import take, in a fresh interpreter?"""

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
        outputs = [
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout for _ in range(times)
        ]
        return times, sum(float(output) for output in outputs)

    return run


QUESTIONS = [
    Question(
        "py-import",
        "import",
        [Side("tasuki", load("tasuki")), Side("multiprocessing", load("multiprocessing"), 1)],
    ),
]
