"""install() and `python -m tasuki`: unmodified programs, their children and their libraries run on tasuki."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest

PROGRAM = """
    from multiprocessing import Process, Queue, current_process, get_context, set_start_method
    import multiprocessing, sys

    def work(queue):
        import tasuki
        inside = get_context()
        assert type(inside).__module__ == "tasuki.context", inside
        assert multiprocessing.Queue is tasuki.Queue
        assert Process is tasuki.Process
        queue.put((type(current_process()).__module__, sys.argv[1:], __name__))

    if __name__ == "__main__":
        set_start_method(sys.argv[1])
        queue = Queue()
        process = Process(target=work, args=(queue,))
        process.start()
        module, args, name = queue.get(timeout=120)
        process.join()
        assert module == "tasuki.context", module
        assert args == sys.argv[1:]
        print(sys.argv[1], name, process.exitcode)
"""

MAIN_IN_CHILD = {"fork": "__main__", "spawn": "__mp_main__", "forkserver": "__mp_main__"}


@pytest.mark.parametrize("method", MAIN_IN_CHILD)
def test_a_script_runs_unmodified(run, method: str) -> None:
    done = run(PROGRAM, method, "--flag", m="tasuki")
    assert done.stdout.split() == [method, MAIN_IN_CHILD[method], "0"]


@pytest.mark.parametrize("method", MAIN_IN_CHILD)
def test_a_program_that_calls_install_first(run, method: str) -> None:
    source = "    import tasuki\n    tasuki.install()\n    tasuki.install()\n" + PROGRAM
    assert run(source, method).stdout.split() == [method, MAIN_IN_CHILD[method], "0"]


@pytest.mark.parametrize("method", MAIN_IN_CHILD)
def test_a_module_runs_by_name(run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    import subprocess
    import textwrap

    package = tmp_path / "parcel"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "program.py").write_text(textwrap.dedent(PROGRAM))
    done = subprocess.run(
        [sys.executable, "-m", "tasuki", "-m", "parcel.program", method], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.split() == [method, MAIN_IN_CHILD[method], "0"], done.stderr


def test_folders_zip_files_and_code_run_too(tmp_path: Path) -> None:
    import subprocess

    source = "import multiprocessing, sys; print(multiprocessing.Process.__module__, __name__, sys.argv[1:])"
    (tmp_path / "__main__.py").write_text(source)
    with zipfile.ZipFile(tmp_path / "program.zip", "w") as archive:
        archive.write(tmp_path / "__main__.py", "__main__.py")
    for what in ([str(tmp_path)], [str(tmp_path / "program.zip")], ["-c", source]):
        done = subprocess.run([sys.executable, "-m", "tasuki", *what, "x"], capture_output=True, text=True)
        assert done.stdout.strip() == "tasuki.context __main__ ['x']", done.stderr


def test_the_exit_code_and_the_traceback_are_the_programs(run) -> None:
    assert run("import sys; sys.exit(7)", m="tasuki", check=False).returncode == 7
    done = run("def fail():\n    1 / 0\nfail()", m="tasuki", check=False)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("ZeroDivisionError: division by zero")


def test_help_and_errors_of_the_command(run) -> None:
    import subprocess

    done = subprocess.run([sys.executable, "-m", "tasuki"], capture_output=True, text=True)
    assert done.stdout.startswith("usage: python -m tasuki SCRIPT")
    done = subprocess.run([sys.executable, "-m", "tasuki", "-m", "no_such_thing"], capture_output=True, text=True)
    assert done.returncode == 1 and "no_such_thing" in done.stderr


def test_tasuki_is_found_in_children_through_the_parents_path(run, tmp_path: Path) -> None:
    """The install in a child happens before the parent's sys.path is in force there."""
    import subprocess
    import textwrap

    import tasuki

    script = tmp_path / "program.py"
    source = Path(tasuki.__file__).parent.parent
    script.write_text(
        f"import sys\nsys.path.insert(0, {str(source)!r})\n"
        + textwrap.dedent(PROGRAM).replace(
            "import multiprocessing", "import tasuki; tasuki.install()\nimport multiprocessing", 1
        )
    )
    text = script.read_text()
    script.write_text(text.replace("from multiprocessing", "import tasuki; tasuki.install()\nfrom multiprocessing", 1))
    done = subprocess.run([sys.executable, "-S", str(script), "spawn"], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["spawn", "__mp_main__", "0"], done.stderr


CONNECTIONS = """
    import multiprocessing, sys
    {first}

    def work(end, address):
        import multiprocessing.connection, os
        from multiprocessing.reduction import recv_handle
        import tasuki.connection
        assert type(end) is tasuki.connection.Connection
        with multiprocessing.connection.Client(address, authkey=b"key") as client:
            assert type(client) is tasuki.connection.Connection
            client.send(end.recv())
        os.write(recv_handle(end), b"through a handle")

    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        from multiprocessing.connection import Connection, Listener, Pipe, wait
        from multiprocessing.reduction import send_handle
        import os, tasuki.connection
        assert (Listener, Pipe, wait) == (tasuki.connection.Listener, tasuki.connection.Pipe, tasuki.connection.wait)
        (ours, theirs), (one, other) = multiprocessing.Pipe(), Pipe(duplex=False)
        assert all(isinstance(end, Connection) for end in (ours, theirs, one, other))
        with Listener(authkey=b"key") as listener:
            process = multiprocessing.Process(target=work, args=(theirs, listener.address))
            process.start()
            theirs.close()
            ours.send("round")
            with listener.accept() as server:
                assert wait([server, ours, one], 120) == [server]
                print(server.recv())
        reader, writer = os.pipe()
        send_handle(ours, writer, process.pid)
        print(os.read(reader, 100).decode())
        process.join()
"""


@pytest.mark.parametrize("method", MAIN_IN_CHILD)
@pytest.mark.parametrize("first", ["", "import multiprocessing.connection", "import tasuki.connection"])
def test_connections(run, method: str, first: str) -> None:
    done = run(CONNECTIONS.replace("{first}", first), method, m="tasuki")
    assert done.stdout.splitlines() == ["round", "through a handle"]
