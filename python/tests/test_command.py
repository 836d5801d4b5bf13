"""Command and inherited: any program as a child that shares our objects. (Rust programs: the examples' tests.)"""

from __future__ import annotations

import os
import signal
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

from deadlines import state, until
import tasuki


@pytest.fixture
def program(tmp_path: Path) -> Any:
    def write(source: str) -> list[str]:
        script = tmp_path / "worker.py"
        script.write_text("import tasuki\n" + textwrap.dedent(source))
        return [sys.executable, "-W", "error", str(script)]

    return write


def test_a_worker_shares_a_queue_a_lock_and_a_value(program: Any) -> None:
    worker = program(
        """
        jobs, results = tasuki.inherited("jobs"), tasuki.inherited("results")
        total, lock = tasuki.inherited("total"), tasuki.inherited("lock")
        while (job := jobs.get()) is not None:
            with lock, total.get_lock():
                total.value += job
            results.put({"job": job, "square": job * job})
        """
    )
    jobs, results = tasuki.Queue(), tasuki.Queue()
    total, lock = tasuki.Value("q", 0), tasuki.Lock()
    handles = {"jobs": jobs, "results": results, "total": total, "lock": lock}
    commands = [tasuki.Command(worker, handles=handles).start() for _ in range(2)]
    for number in range(100):
        jobs.put(number)
    squares = [results.get(timeout=120) for _ in range(100)]
    assert sorted(entry["square"] for entry in squares) == [n * n for n in range(100)]
    for _ in commands:
        jobs.put(None)
    for command in commands:
        command.join(120)
        assert command.exitcode == 0 and not command.is_alive()
    assert total.value == sum(range(100))


def test_what_else_can_be_handed_over(program: Any) -> None:
    worker = program(
        """
        assert tasuki.inherited_names() == ["answer", "nested", "numbers", "point"]
        nested = tasuki.inherited("nested")
        point = tasuki.inherited("point")
        assert len(point) == 16
        # Asking twice gives two handles to the same object.
        with tasuki.inherited("answer").get_lock():
            tasuki.inherited("answer").value = sum(tasuki.inherited("numbers"))
        nested["queues"][0].put(nested["name"])
        """
    )
    import ctypes

    class Point(ctypes.Structure):
        _fields_ = [("x", ctypes.c_double), ("y", ctypes.c_double)]

    q, answer = tasuki.Queue(), tasuki.Value("d")
    nested = {"queues": [q, tasuki.Queue()], "name": "襷"}
    handles = {"nested": nested, "numbers": [1, 2, 3.5], "answer": answer, "point": tasuki.Value(Point)}
    command = tasuki.Command(worker, handles=dict(sorted(handles.items()))).start()
    command.join(120)
    assert command.exitcode == 0
    assert q.get(timeout=120) == "襷"
    assert answer.value == 6.5


def test_the_command_is_like_a_process(program: Any) -> None:
    worker = program("import time; print('ready'); time.sleep(1000)")
    command = tasuki.Command(worker)
    assert (command.pid, command.exitcode, command.is_alive()) == (None, None, False)
    with pytest.raises(ValueError, match="not started"):
        command.join()
    assert command.start() is command
    with pytest.raises(AssertionError):
        command.start()
    assert command.is_alive() and command.exitcode is None and "started" in repr(command)
    began = time.monotonic()
    command.join(0.1)
    assert time.monotonic() - began >= 0.1
    command.terminate()
    command.join(120)
    assert command.exitcode == -signal.SIGTERM and not command.is_alive()
    command = tasuki.Command(worker).start()
    command.kill()
    command.join(120)
    assert command.exitcode == -signal.SIGKILL


def test_environment_folder_and_exit_code(program: Any, tmp_path: Path) -> None:
    worker = program("import os, sys; sys.exit(int(os.environ['CODE']) if os.path.exists('worker.py') else 1)")
    command = tasuki.Command(worker, env={**os.environ, "CODE": "7"}, cwd=tmp_path).start()
    command.join(120)
    assert command.exitcode == 7


def test_errors_say_what_to_do(program: Any) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        tasuki.Command(["no-such-program"]).start()
    with pytest.raises(TypeError, match="object"):
        tasuki.Command(["true"], handles={"x": object()}).start()
    with pytest.raises(TypeError, match="lock of another object"):
        tasuki.Command(["true"], handles={"x": tasuki.Value("i", lock=tasuki.Lock())}).start()
    with pytest.raises(RuntimeError, match="not started with handles"):
        tasuki.inherited("jobs")
    worker = program(
        """
        try:
            tasuki.inherited("nothing")
        except KeyError as error:
            assert "nothing" in str(error) and "jobs" in str(error)
            raise SystemExit(3)
        """
    )
    command = tasuki.Command(worker, handles={"jobs": tasuki.Queue()}).start()
    command.join(120)
    assert command.exitcode == 3


def test_a_daemon_ends_with_its_parent(run: Any, tmp_path: Path) -> None:
    worker = tmp_path / "daemon.py"
    worker.write_text("import tasuki, time\ntasuki.inherited('q')\nprint('up', flush=True)\ntime.sleep(1000)\n")
    done = run(
        f"""
        import os, sys, tasuki
        command = tasuki.Command(
            [sys.executable, {str(worker)!r}], handles={{"q": tasuki.Queue()}}, daemon=True
        ).start()
        print(command.pid, flush=True)
        os.kill(os.getpid(), 9)
        """,
        check=False,
    )
    pid = int(done.stdout.split()[0])
    until(lambda: state(pid) is None)


def test_a_handle_that_was_only_in_the_command(program: Any) -> None:
    worker = program("q = tasuki.inherited('q'); q.put(1); tasuki.inherited('done').put(q.get())")
    done = tasuki.Queue()
    command = tasuki.Command(worker, handles={"q": tasuki.Queue(), "done": done}).start()
    command.handles.clear()
    assert done.get(timeout=120) == 1
    command.join(120)
