"""Every example, in each language it exists in, prints the text in expected/; so the twins cannot drift apart."""

import os
import re
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent
PROGRAMS = Path(os.environ.get("TASUKI_TARGET", EXAMPLES.parent / "target")) / "debug"

NAMES = sorted(path.stem for path in (EXAMPLES / "expected").glob("*.txt"))
#: Started by the example of the other language, never alone.
WORKERS = {"square_worker", "scale_worker", "filter_worker", "price_worker"}
#: The examples of one language alone, with the arguments that name their worker in the other one.
RUST_WORKER = {
    "rust_worker_from_python": [PROGRAMS / "square_worker"],
    "rust_worker_on_array": [PROGRAMS / "scale_worker"],
    "zero_copy_image_pipeline": [PROGRAMS / "filter_worker"],
    "rwlock_with_rust": [PROGRAMS / "price_worker"],
}
PYTHON_WORKER = {"python_worker_from_rust": [sys.executable, EXAMPLES / "python/square_worker.py"]}
#: What the standard library cannot do: await a queue, send a queue through a queue, start something later, read together, share anything
#: with Rust.
ONLY_TASUKI = {"async", "pass_handles", "timer", "rwlock", *RUST_WORKER}

#: Whose file has another name in Python, where a program called select.py would stand in for the module of that name.
PYTHON_FILE = {"select": "wait"}

IN_PYTHON = [name for name in NAMES if name not in PYTHON_WORKER]
IN_RUST = [name for name in NAMES if name not in RUST_WORKER]


@pytest.fixture
def printed_by(program):
    """What a program prints; it has to end well, and to be silent otherwise."""

    def printed_by(*command):
        run = program(*command)
        assert (run.returncode, run.stderr) == (0, "")
        return run.stdout

    return printed_by


def expected(name):
    return (EXAMPLES / "expected" / f"{name}.txt").read_text()


@pytest.mark.parametrize("name", IN_PYTHON)
def test_python(printed_by, name):
    script = EXAMPLES / "python" / f"{PYTHON_FILE.get(name, name)}.py"
    assert printed_by(sys.executable, script, *RUST_WORKER.get(name, [])) == expected(name)


@pytest.mark.parametrize("name", [name for name in IN_PYTHON if name not in ONLY_TASUKI])
def test_python_on_the_standard_library(printed_by, name, tmp_path):
    text = (EXAMPLES / "python" / f"{PYTHON_FILE.get(name, name)}.py").read_text()
    text, replaced = re.subn(r"^import tasuki as multiprocessing$", "import multiprocessing", text, flags=re.M)
    assert replaced == 1
    text = re.sub(r"^from tasuki\b", "from multiprocessing", text, flags=re.M)
    script = tmp_path / "program.py"
    script.write_text(text)
    assert printed_by(sys.executable, script) == expected(name)


@pytest.mark.parametrize("name", IN_RUST)
def test_rust(printed_by, name):
    assert printed_by(PROGRAMS / name, *PYTHON_WORKER.get(name, [])) == expected(name)


def test_every_program_is_tested():
    files = {PYTHON_FILE.get(name, name) for name in IN_PYTHON}
    assert {path.stem for path in (EXAMPLES / "python").glob("*.py")} - WORKERS == files
    assert {path.stem for path in (EXAMPLES / "rust/src/bin").glob("*.rs")} - WORKERS == set(IN_RUST)
