"""No test supposes a speed: upper bounds of time are watchdogs, and no signal is sent after a time. See CONTRIBUTING.md."""

from __future__ import annotations

import ast
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

#: Seconds: what is shorter may be too short for what must happen, however slow the machine is.
WATCHDOG = 60
#: Seconds: what is shorter is there to run out, when nothing is to happen.
RUNS_OUT = 2

#: Calls whose first argument is how long they wait.
WAITS = {"join", "wait", "poll", "select", "settimeout"}
CLOCKS = {"monotonic", "perf_counter", "time"}
#: What watchdogs are called.
DEADLINES = {"DEADLINE", "NEVER", "SOON", "WATCHDOG"}


def _called(node: ast.AST) -> str:
    """The last name of what is called."""
    match node:
        case ast.Call(func=ast.Attribute(attr=name)) | ast.Call(func=ast.Name(id=name)):
            return name
    return ""


def _is_short(node: ast.AST | None) -> bool:
    match node:
        case ast.Constant(value=int(seconds) | float(seconds)) if not isinstance(seconds, bool):
            return RUNS_OUT <= seconds < WATCHDOG
    return False


def _asks_a_clock(node: ast.AST) -> bool:
    return any(_called(part) in CLOCKS for part in ast.walk(node))


def faults_in_python(source: str) -> Iterator[tuple[int, str]]:
    """The line and the kind of each supposition, also in the programs that a test runs."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Constant(value=str(program)) if "import tasuki" in program:
                yield from ((node.lineno + line - 1, what) for line, what in _faults_in_program(program))
            case ast.Call():
                waits = [word.value for word in node.keywords if word.arg == "timeout"]
                if _called(node) in WAITS:
                    waits += node.args[:1]
                if any(map(_is_short, waits)):
                    yield node.lineno, "a wait that a slow machine needs longer for"
                if _called(node) == "Timer" and any("kill" in ast.dump(part) for part in node.args[1:2]):
                    yield node.lineno, "a signal after a time: deadlines.struck_asleep sends it when its thread sleeps"
            case ast.Compare(ops=[ast.Lt() | ast.LtE()], left=ast.BinOp(op=ast.Sub()) as took, comparators=[bound]):
                if _asks_a_clock(took) and not (isinstance(bound, ast.Name) and bound.id in DEADLINES):
                    yield node.lineno, "an upper bound of time"
            case ast.Assign(targets=[ast.Name(id=name)], value=bound) if name in DEADLINES and _is_short(bound):
                yield node.lineno, "a watchdog that a slow machine runs into"
            case ast.BinOp(op=ast.Add(), right=bound) if _asks_a_clock(node.left) and _is_short(bound):
                yield node.lineno, "a deadline that is no watchdog"


def _faults_in_program(text: str) -> Iterator[tuple[int, str]]:
    try:
        yield from faults_in_python(textwrap.dedent(text))
    except SyntaxError:  # prose, or a template
        return


#: Not `thread_time`: what a sleeper uses of the processor does not grow with the load.
ELAPSED = re.compile(r"elapsed\(\) <=? (?!.*(NEVER|time\b))(?:[\w:]*from_secs\((\d+)\))?")
SHORT_WAIT = re.compile(r"(?:timeout|timeout_secs)\([\w:]*from_secs\((\d+)\)\)")


def faults_in_rust(source: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(source.splitlines(), 1):
        if "assert" in line and (bound := ELAPSED.search(line)) and int(bound[2] or 0) < WATCHDOG:
            yield number, "an upper bound of time"
        if (wait := SHORT_WAIT.search(line)) and 2 * RUNS_OUT < int(wait[1]) < WATCHDOG:
            yield number, "a wait that a slow machine needs longer for"


def _tests() -> list[Path]:
    python = [*ROOT.glob("python/tests/*.py"), *ROOT.glob("examples/*.py"), *ROOT.glob("demo/*.py")]
    return sorted([*python, *ROOT.glob("crates/*/tests/**/*.rs")])


def test_no_test_supposes_a_speed() -> None:
    found = []
    for path in _tests():
        faults = faults_in_python if path.suffix == ".py" else faults_in_rust
        found += [f"{path.relative_to(ROOT)}:{line}: {what}" for line, what in faults(path.read_text())]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("line", "many"),
    [
        ("q.get(timeout=5)", 1),
        ("process.join(30)", 1),
        ("assert time.monotonic() - began < 5", 1),
        ("DEADLINE = 30.0", 1),
        ("deadline = time.monotonic() + 10", 1),
        ("threading.Timer(0.2, os.kill, (os.getpid(), 2))", 1),
        ("threading.Timer(0.2, process.kill)", 1),
        ("PROGRAM = 'import TASUKI; q.get(timeout=30)'".replace("TASUKI", "tasuki"), 1),
        ("q.get(timeout=120), q.get(timeout=0.1), process.join(WATCHDOG)", 0),
        ("assert time.monotonic() - began >= 0.2", 0),
        ("deadline = time.monotonic() + WATCHDOG", 0),
        ("assert time.thread_time() - began < 0.25", 0),
    ],
)
def test_what_counts_in_python(line: str, many: int) -> None:
    assert len(list(faults_in_python(line))) == many


@pytest.mark.parametrize(
    ("line", "many"),
    [
        ("assert!(start.elapsed() < SOON);", 1),
        ("    assert!(start.elapsed() < Duration::from_secs(5));", 1),
        ("queue.get_timeout(Duration::from_secs(20))", 1),
        ("assert!(start.elapsed() < NEVER);", 0),
        ("assert!(start.elapsed() < Duration::from_secs(400));", 0),
        ("assert!(start.elapsed() >= time);", 0),
        ("while start.elapsed() < Duration::from_secs(2) {", 0),
    ],
)
def test_what_counts_in_rust(line: str, many: int) -> None:
    assert len(list(faults_in_rust(line))) == many
