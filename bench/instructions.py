"""Counts the instructions of calls that meet nobody, with callgrind: exact, whatever else the machine does.

    instructions.py PROGRAM [WORD]

Only what has WORD in its name. The first lines of a file that callgrind wrote say how much it counted.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

TIMES = 1000


def counted(program: str, name: str) -> float:
    with tempfile.TemporaryDirectory(prefix="tasuki_bench_") as folder:
        out = Path(folder, "callgrind.out")
        callgrind = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=*measured*"]
        command = [*callgrind, program, "count", name, str(TIMES)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
        if done.returncode != 0:
            sys.exit(f"{name} failed under callgrind:\n{done.stdout}")
        return int(re.search(r"^summary: (\d+)", out.read_text(), re.MULTILINE)[1]) / TIMES


def main(program: str, word: str = "") -> None:
    names = subprocess.run([program, "counted"], stdout=subprocess.PIPE, text=True, check=True).stdout.splitlines()
    for name in names:
        if word in name:
            print(f"{name:34} {counted(program, name):6.0f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
