"""Every test runs under a watchdog (pytest-timeout, see pyproject.toml) and must leave nothing behind."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import tasuki

METHODS = ("fork", "spawn", "forkserver")


@pytest.fixture(params=METHODS)
def ctx(request: pytest.FixtureRequest) -> object:
    """A tasuki context of each start method."""
    return tasuki.get_context(request.param)


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program in a fresh interpreter: `run(source, *args, m="tasuki")`."""

    def run(source: str, *args: str, m: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(source))
        command = [sys.executable, "-W", "error", *(["-m", m] if m else []), str(script), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL)
        if check:
            assert done.returncode == 0 and not done.stderr, done.stderr
        return done

    return run


def _named_memory() -> set[str]:
    """What has a name in shared memory, but for semaphores: those of tasuki have none, so they are of other programs."""
    return {name for name in os.listdir("/dev/shm") if not name.startswith("sem.")}


def _children() -> set[int]:
    found = set()
    for thread in Path(f"/proc/{os.getpid()}/task").iterdir():
        try:
            found |= {int(pid) for pid in (thread / "children").read_text().split()}
        except OSError:
            continue  # a thread that was about to end when it was joined
    return found


def _helpers() -> set[int]:
    """The processes that the standard library keeps on purpose: its fork server and its resource tracker."""
    from multiprocessing import forkserver, resource_tracker

    keep = {forkserver._forkserver._forkserver_pid, resource_tracker._resource_tracker._pid}
    return {pid for pid in keep if pid is not None}


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No name in /dev/shm and no child process outlives a test."""
    names = _named_memory()
    yield
    gc.collect()
    deadline = time.monotonic() + 120
    while True:
        tasuki.active_children()
        left = _named_memory() - names, _children() - _helpers()
        if not any(left) or time.monotonic() > deadline:
            break
        time.sleep(0.05)
    assert left == (set(), set())


def pytest_configure() -> None:
    """Who runs the tests in the background may have SIGINT ignored, and every child would inherit that."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True, scope="session")
def nobody_is_left() -> Iterator[None]:
    """No process that a test started, at whatever depth, outlives the session, and so none holds memory of ours."""
    # Descendants inherit the environment, also those that left our process group or lost their parent.
    mark = f"TASUKI_TESTS={uuid.uuid4()}"
    name, _, value = mark.partition("=")
    os.environ[name] = value
    yield
    deadline = time.monotonic() + 120
    while (left := _marked(mark) - _helpers()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not left


def _marked(mark: str) -> set[int]:
    """The processes with this mark in their environment, but us."""
    found = set()
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            # What a process set after its start is not seen here: this process itself is not found.
            if mark.encode() in environ.read_bytes().split(b"\0"):
                found.add(int(environ.parent.name))
        except OSError:
            continue
    return found
