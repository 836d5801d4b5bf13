"""Frozen programs: freeze_support() makes a child of one, where the program would begin again and start more of them."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

PROGRAM = """
    import sys
    {first}

    def work(queue, number):
        queue.put((number, multiprocessing.current_process().name.partition("-")[0]))

    if __name__ == "__main__":
        multiprocessing.freeze_support()
        assert len(sys.argv) == 1, "a child began as the program: " + repr(sys.argv)
        for method in ("spawn", "forkserver", "fork"):
            context = multiprocessing.get_context(method)
            queue = context.Queue()
            process = context.Process(target=work, args=(queue, 7))
            process.start()
            print(*queue.get(timeout=120), flush=True)
            process.join()
            print(process.exitcode)
"""

FIRST = {
    "installed": "import tasuki; tasuki.install(); import multiprocessing",
    "by name": "import tasuki as multiprocessing",
    "a context": "import tasuki; multiprocessing = tasuki.get_context('spawn')",
}

EXPECTED = "7 SpawnProcess\n0\n7 ForkServerProcess\n0\n7 ForkProcess\n0\n"

# What PyInstaller does before the program: another executable, and a function of its own in the standard library. The
# other executable also serves as Python for the standard library's helpers.
AS_FROZEN = """
    def before_the_program():
        import multiprocessing.spawn as spawn, sys

        def freeze_support():
            if "-c" in sys.argv:
                exec(sys.argv[sys.argv.index("-c") + 1], {})
                sys.exit()
            if spawn.is_forking(sys.argv):
                values = (argument.split("=") for argument in sys.argv[2:])
                spawn.spawn_main(**{name: int(value) for name, value in values})
                sys.exit()

        sys.frozen = True
        sys.executable = __file__.removesuffix(".py")
        spawn.set_executable(sys.executable)
        sys.modules["multiprocessing"].freeze_support = spawn.freeze_support = freeze_support
        sys.modules["multiprocessing.process"].ORIGINAL_DIR = None

    before_the_program()
"""


@pytest.mark.parametrize("first", FIRST)
def test_freeze_support_acts_at_its_call(tmp_path: Path, first: str) -> None:
    program = tmp_path / "frozen.py"
    program.write_text(textwrap.dedent(AS_FROZEN) + textwrap.dedent(PROGRAM).replace("{first}", FIRST[first]))
    executable = tmp_path / "frozen"
    executable.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}" "$@"\n')
    executable.chmod(0o755)
    done = subprocess.run([executable], capture_output=True, text=True, timeout=120)
    assert done.stdout == EXPECTED, done.stderr


@pytest.mark.skipif(
    "TASUKI_SOAK" not in os.environ or importlib.util.find_spec("PyInstaller") is None,
    reason="freezing takes half a minute for each program: part of make soak, where PyInstaller is to be had",
)
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("first", ["installed", "by name"])
def test_a_program_frozen_by_pyinstaller(tmp_path: Path, first: str) -> None:
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM).replace("{first}", FIRST[first]))
    freeze = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR", "--onedir", "program.py"]
    environment = {**os.environ, "PYINSTALLER_CONFIG_DIR": str(tmp_path / "cache")}
    subprocess.run(freeze, cwd=tmp_path, env=environment, check=True, timeout=600)
    done = subprocess.run(["dist/program/program"], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == EXPECTED, done.stderr
