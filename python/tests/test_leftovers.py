"""What a program leaves that is killed as a whole, its helpers included, is swept by the next one, and nothing else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from observing import exists
import tasuki

#: Starts a process, as most programs do sooner or later.
NEXT = """
    import tasuki

    def nothing():
        pass

    if __name__ == "__main__":
        process = tasuki.get_context("fork").Process(target=nothing)
        process.start()
        process.join()
"""

Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Where the programs put their sockets: not `tmp_path`, since the path of a socket has at most 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="tasuki-") as name:
        yield Path(name)


@pytest.fixture
def start(tmp_path: Path, folder: Path) -> Iterator[Start]:
    """Starts a program, which says "ready" when it is; at the end of the test it is killed with all its processes."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *arguments: str) -> subprocess.Popen[str]:
        script = tmp_path / f"program{len(started)}.py"
        script.write_text(textwrap.dedent(source))
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(folder)},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        kill(process)


def kill(process: subprocess.Popen[str]) -> None:
    """Kills a program with its children, its server of forks and its resource tracker."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.communicate()


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def next_program(start: Start) -> None:
    process = start(NEXT)
    process.communicate(timeout=120)
    assert process.returncode == 0


# --- memory

CREATE = """
    import sys
    import time

    import tasuki
    from multiprocessing import resource_tracker
    from tasuki.shared_memory import SharedMemory

    def create(*how):
        memory = SharedMemory(create=True, size=5000, **dict(how))
        memory.close()
        print(memory.name, flush=True)

    if __name__ == "__main__":
        method, *how = sys.argv[1:]
        how = [(name, False) for name in how]
        if method == "main":
            create(*how)
        else:
            resource_tracker.ensure_running()  # else a forked child has one of its own, which ends with it
            process = tasuki.get_context(method).Process(target=create, args=how)
            process.start()
            process.join()
        time.sleep(1000)
"""


@pytest.mark.parametrize("method", ["main", "fork", "spawn", "forkserver"])
def test_memory_of_a_killed_program_is_swept(start: Start, method: str) -> None:
    program = start(CREATE, method)
    name = said(program)
    # It is closed everywhere, and its program lives.
    next_program(start)
    assert exists(name)
    kill(program)
    assert exists(name)
    next_program(start)
    assert not exists(name)


def test_memory_that_nobody_was_to_unlink_stays(start: Start) -> None:
    program = start(CREATE, "main", "track")
    name = said(program)
    kill(program)
    next_program(start)
    assert exists(name)
    tasuki.shared_memory.SharedMemory(name).unlink()


def test_memory_that_a_program_unregistered_stays(start: Start) -> None:
    program = start(
        """
        import time
        import tasuki
        tasuki.install()
        from multiprocessing import resource_tracker, shared_memory
        memory = shared_memory.SharedMemory(create=True, size=5000)
        resource_tracker.unregister(memory._name, "shared_memory")
        print(memory.name, flush=True)
        time.sleep(1000)
        """
    )
    name = said(program)
    kill(program)
    next_program(start)
    assert exists(name)
    tasuki.shared_memory.SharedMemory(name).unlink()


USE = """
    import mmap
    import os
    import sys
    import time

    descriptor = os.open("/dev/shm/" + sys.argv[1], os.O_RDWR)
    mapping = mmap.mmap(descriptor, 0)
    if sys.argv[2] == "mapped":
        os.close(descriptor)
    else:
        mapping.close()
    print("ready", flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("how", ["mapped", "open"])
def test_memory_that_somebody_has_stays_until_they_are_gone(start: Start, how: str) -> None:
    """Whoever it is: this one knows nothing of tasuki."""
    program = start(CREATE, "main")
    name = said(program)
    user = start(USE, name, how)
    assert said(user) == "ready"
    kill(program)
    next_program(start)
    assert exists(name)
    kill(user)
    next_program(start)
    assert not exists(name)


def test_memory_of_the_standard_library_is_not_touched(start: Start) -> None:
    program = start(
        """
        import time
        from multiprocessing.shared_memory import SharedMemory
        memory = SharedMemory(create=True, size=5000)
        print(memory.name, flush=True)
        time.sleep(1000)
        """
    )
    name = said(program)
    kill(program)
    next_program(start)
    assert exists(name)
    tasuki.shared_memory.SharedMemory(name).unlink()


def test_a_program_that_ends_leaves_nothing_to_sweep(start: Start) -> None:
    program = start(
        """
        from tasuki.shared_memory import SharedMemory
        memory = SharedMemory(create=True, size=5000)
        print(memory.name, flush=True)
        """
    )
    name = said(program)
    program.communicate(timeout=120)
    assert program.returncode == 0
    assert not exists(name)


# --- sockets and folders

LISTEN = """
    import time
    from tasuki.connection import Listener
    listener = Listener(family="AF_UNIX")
    print(listener.address, flush=True)
    time.sleep(1000)
"""

MANAGE = """
    import sys
    import time

    import tasuki

    if __name__ == "__main__":
        manager = tasuki.get_context(sys.argv[1]).Manager()
        print(manager.address, flush=True)
        time.sleep(1000)
"""

DAEMON = """
    import os
    import time

    from tasuki.connection import Listener

    first = Listener(family="AF_UNIX")
    said = os.dup2(1, 1100)
    os.closerange(0, 1000)
    others = [os.open(os.devnull, os.O_RDWR) for _ in range(30)]
    listener = Listener(family="AF_UNIX")
    os.write(said, listener.address.encode() + b"\\n")
    os.close(said)
    time.sleep(1000)
"""

FORK = """
    import time

    import tasuki

    def nothing():
        pass

    if __name__ == "__main__":
        process = tasuki.get_context("forkserver").Process(target=nothing)
        process.start()
        process.join()
        from multiprocessing import forkserver
        print(forkserver._forkserver._forkserver_address, flush=True)
        time.sleep(1000)
"""

PROGRAMS = {
    "listener": (LISTEN,),
    "daemon": (DAEMON,),
    "fork server": (FORK,),
    "manager, forked": (MANAGE, "fork"),
    "manager, spawned": (MANAGE, "spawn"),
    "manager, of a fork server": (MANAGE, "forkserver"),
}


@pytest.mark.parametrize("kind", PROGRAMS)
def test_sockets_of_a_killed_program_are_swept(start: Start, folder: Path, kind: str) -> None:
    program = start(*PROGRAMS[kind])
    address = said(program)
    assert address.startswith(str(folder))
    next_program(start)
    assert os.path.exists(address)
    kill(program)
    assert os.path.exists(address)
    next_program(start)
    assert os.listdir(folder) == []


def test_a_folder_that_a_child_still_has_is_not_swept(start: Start, folder: Path) -> None:
    program = start(
        """
        import os
        import time

        import tasuki
        from tasuki.connection import Listener

        def serve(listener):
            print(os.getpid(), listener.address, flush=True)
            time.sleep(1000)

        if __name__ == "__main__":
            listener = Listener(family="AF_UNIX")
            tasuki.get_context("fork").Process(target=serve, args=(listener,)).start()
            time.sleep(1000)
        """
    )
    _pid, address = said(program).split()
    os.kill(program.pid, signal.SIGKILL)
    assert program.wait(120) == -signal.SIGKILL
    next_program(start)
    assert os.path.exists(address)
    kill(program)
    next_program(start)
    assert os.listdir(folder) == []


def test_a_folder_of_the_standard_library_is_not_touched(start: Start, folder: Path) -> None:
    program = start(
        """
        import time
        from multiprocessing.connection import Listener
        listener = Listener(family="AF_UNIX")
        print(listener.address, flush=True)
        time.sleep(1000)
        """
    )
    address = said(program)
    kill(program)
    next_program(start)
    assert os.path.exists(address)
