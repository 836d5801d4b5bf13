"""SharedMemory: one memory for the standard library's processes and ours, which nobody loses who still has it."""

from __future__ import annotations

import errno
import gc
import multiprocessing.shared_memory
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from observing import descriptors, exists, resident
import tasuki
from tasuki.shared_memory import SharedMemory

STANDARD = multiprocessing.shared_memory.SharedMemory


@pytest.fixture
def memory() -> Iterator[SharedMemory]:
    memory = SharedMemory(create=True, size=5000)
    yield memory
    memory.close()
    try:
        memory.unlink()
    except FileNotFoundError:
        pass


def interpreters() -> list[str]:
    """This one, and others to be found, of the versions that differ."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = {os.path.realpath(sys.executable): sys.executable}
    for version in ("3.11", "3.12", "3.13"):
        candidates = [*map(str, sorted(pyenv.glob(f"{version}.*/bin/python3"))), shutil.which(f"python{version}")]
        for candidate in filter(None, candidates):
            works = subprocess.run([candidate, "-c", ""], capture_output=True, check=False).returncode == 0
            if works:
                found.setdefault(os.path.realpath(candidate), candidate)
                break
    return list(found.values())


@pytest.fixture(params=interpreters(), ids=lambda path: Path(os.path.realpath(path)).name, scope="module")
def stock(request: pytest.FixtureRequest) -> Any:
    """Runs a program on an interpreter that knows nothing of tasuki; its output and its complaints."""

    def run(source: str, *args: str) -> tuple[str, str]:
        command = [request.param, "-I", "-c", textwrap.dedent(source), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.stdout, done.stderr

    return run


# --- as the standard library has it


def test_it_is_a_standard_one_for_those_who_ask(memory: SharedMemory) -> None:
    assert isinstance(memory, STANDARD)
    assert re.fullmatch("psm_[0-9a-f]{8}", memory.name)
    assert memory.size == len(memory.buf) == 5000
    assert repr(memory) == f"SharedMemory({memory.name!r}, size=5000)"
    assert bytes(memory.buf) == bytes(5000) and not memory.buf.readonly


def test_the_errors_are_the_standard_ones(memory: SharedMemory) -> None:
    cases: list[tuple[Any, dict[str, Any]]] = [
        ((), {}),
        ((), {"create": True}),
        ((), {"create": True, "size": -1}),
        (("x",), {"size": -1}),
        (("no such memory",), {}),
        ((memory.name,), {"create": True, "size": 1}),
        (("a/b",), {}),
        (("n" * 300,), {}),
        (("",), {}),
    ]
    for args, kwargs in cases:
        with pytest.raises((ValueError, OSError)) as standard:
            STANDARD(*args, **kwargs)
        with pytest.raises(standard.type) as ours:
            SharedMemory(*args, **kwargs)
        if standard.type is ValueError:
            assert str(ours.value) == str(standard.value)
        if isinstance(standard.value, OSError):
            numbers = {ours.value.errno, standard.value.errno}  # type: ignore[attr-defined]
            # C libraries do not agree about a name that is too long.
            assert len(numbers) == 1 or numbers == {errno.EINVAL, errno.ENAMETOOLONG}


def test_a_name_with_a_nul_is_a_value_error(memory: SharedMemory) -> None:
    with pytest.raises(ValueError, match="null"):  # Python 3.11 has cut it off there
        SharedMemory(memory.name + "\0a")


def test_names_with_a_slash_in_front_are_the_same_names() -> None:
    name = f"tasuki-{uuid.uuid4()}"
    memory = SharedMemory(f"/{name}", create=True, size=1)
    try:
        assert memory.name == f"/{name}"  # as given, as the standard library has it
        same = SharedMemory(name)
        assert same.name == name
    finally:
        memory.unlink()


def test_the_mode_and_the_flags_of_a_subclass_count() -> None:
    class Open(SharedMemory):
        _flags = os.O_CREAT | os.O_RDWR
        _mode = 0o640

    name = f"tasuki-{uuid.uuid4()}"
    made, opened = Open(name, size=10), Open(name, size=99)
    try:
        assert (made.size, opened.size) == (10, 10)
        assert os.stat(f"/dev/shm/{name}").st_mode & 0o777 == 0o640
    finally:
        made.unlink()


def test_only_the_user_may_open_it(memory: SharedMemory) -> None:
    assert os.stat(f"/dev/shm/{memory.name}").st_mode & 0o777 == 0o600


def test_closing_twice_is_fine_and_unlinking_twice_is_not(memory: SharedMemory) -> None:
    memory.close()
    memory.close()
    assert memory.buf is None and memory.size == 5000
    memory.unlink()
    with pytest.raises(FileNotFoundError) as gone:
        memory.unlink()
    assert gone.value.filename == f"/{memory.name}"


def _write(memory: Any, data: bytes) -> None:
    memory = SharedMemory(memory) if isinstance(memory, str) else memory
    memory.buf[: len(data)] = data


def test_processes_share_it_by_name_and_as_an_argument(memory: SharedMemory, ctx: Any) -> None:
    for argument, data in ((memory.name, b"by name"), (memory, b"as argument")):
        process = ctx.Process(target=_write, args=(argument, data))
        process.start()
        process.join(120)
        assert process.exitcode == 0
        assert bytes(memory.buf[: len(data)]) == data
        assert exists(memory.name)


def test_it_travels_through_our_queues_and_theirs(memory: SharedMemory, ctx: Any) -> None:
    queue = ctx.Queue()
    queue.put(memory)
    same = queue.get(timeout=120)
    assert type(same) is SharedMemory and same.name == memory.name
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        same = pickle.loads(pickle.dumps(memory, protocol))
        same.buf[0] = protocol
        assert memory.buf[0] == protocol


# --- with the standard library, of this version and others


def test_the_standard_library_opens_ours(memory: SharedMemory, stock: Any) -> None:
    memory.buf[:5] = b"relay"
    source = """
        import sys
        from multiprocessing import resource_tracker, shared_memory
        memory = shared_memory.SharedMemory(sys.argv[1])
        # What a program of the standard library has to say so as not to destroy what it only opened.
        resource_tracker.unregister(memory._name, "shared_memory")
        print(bytes(memory.buf[:5]), memory.size)
        memory.buf[:5] = b"baton"
        memory.close()
    """
    output, errors = stock(source, memory.name)
    assert (output, errors) == ("b'relay' 5000\n", "")
    assert bytes(memory.buf[:5]) == b"baton"


def test_we_open_that_of_the_standard_library(stock: Any) -> None:
    source = """
        import sys, subprocess
        from multiprocessing import shared_memory
        memory = shared_memory.SharedMemory(create=True, size=77)
        memory.buf[:5] = b"relay"
        program = (
            "import sys; from tasuki.shared_memory import SharedMemory\\n"
            "memory = SharedMemory(sys.argv[1])\\n"
            "assert bytes(memory.buf[:5]) == b'relay' and memory.size == 77\\n"
            "memory.buf[:5] = b'baton'"
        )
        subprocess.run([sys.argv[1], "-c", program, memory.name], check=True)
        # It is still there: whoever opened it has not destroyed it.
        again = shared_memory.SharedMemory(memory.name)
        print(bytes(again.buf[:5]))
        again.close()
        memory.close()
        memory.unlink()
    """
    assert stock(source, sys.executable) == ("b'baton'\n", "")


# --- closing with views


def test_slices_outlive_close() -> None:
    memory = SharedMemory(create=True, size=10)
    memory.buf[3] = 7
    whole, part = memory.buf, memory.buf[2:5]
    memory.close()
    memory.unlink()
    assert list(part) == [0, 7, 0]
    part[0] = 1
    assert list(part) == [1, 7, 0]
    with pytest.raises(ValueError, match="released"):
        whole[0]


def test_numpy_arrays_outlive_close_and_the_object() -> None:
    memory = SharedMemory(create=True, size=8000)
    arrays = [np.ndarray((1000,), dtype=np.float64, buffer=memory.buf), np.frombuffer(memory.buf, np.float64)]
    arrays[0][:] = np.arange(1000)
    memory.close()
    memory.unlink()
    del memory
    gc.collect()
    for array in arrays:
        assert array.sum() == 499500
    arrays[0][0] = 5
    assert arrays[1][0] == 5


def test_a_view_of_an_object_that_nobody_keeps_is_good() -> None:
    memory = SharedMemory(create=True, size=10)
    view = SharedMemory(memory.name).buf
    array = np.ndarray((10,), dtype=np.uint8, buffer=SharedMemory(memory.name).buf)
    gc.collect()
    view[0] = 9
    assert array[0] == memory.buf[0] == 9
    memory.unlink()


def _mappings(name: str) -> int:
    return Path("/proc/self/maps").read_text().count(name)


def test_the_mapping_goes_with_the_last_view(memory: SharedMemory) -> None:
    view = memory.buf[:1]
    memory.close()
    assert _mappings(memory.name) == 1
    view.release()
    del view
    assert _mappings(memory.name) == 0


def test_ten_thousand_of_them_leave_nothing() -> None:
    def rounds(count: int) -> None:
        for _ in range(count):
            memory = SharedMemory(create=True, size=10_000, track=False)
            same = SharedMemory(memory.name)
            same.buf[:4] = b"sash"
            memory.unlink()

    rounds(200)
    before = descriptors(), _mappings("psm_"), resident()
    rounds(10_000)
    assert (descriptors(), _mappings("psm_")) == before[:2]
    assert resident() < before[2] + (8 << 20)


def test_the_end_of_the_interpreter_is_quiet(run: Any) -> None:
    run(
        """
        from tasuki.shared_memory import SharedMemory, ShareableList
        import numpy, sys
        memory = SharedMemory(create=True, size=1000)
        memory.cycle = memory
        array = numpy.ndarray((10,), buffer=memory.buf)
        view = memory.buf[3:]
        sys.kept = [memory, view, array, SharedMemory(memory.name)]
        memory.unlink()
        """
    )


# --- who destroys what, and what the resource tracker says to it


@pytest.fixture
def family(tmp_path: Path) -> Any:
    """Runs a program and returns when all its descendants have gone too: its output, and what any of them said.

    Without `-W error`, which would make the tracker swallow its warnings.
    """

    def family(source: str, *args: str) -> tuple[str, str]:
        script = tmp_path / "program.py"
        script.write_text(textwrap.dedent(source), encoding="utf-8")
        command = [sys.executable, str(script), *args]
        # They hold both ends open.
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        return done.stdout, done.stderr

    return family


def test_an_opener_in_another_program_destroys_nothing(family: Any, memory: SharedMemory) -> None:
    said = family(
        """
        import sys
        from tasuki.shared_memory import SharedMemory
        from multiprocessing import resource_tracker
        SharedMemory(sys.argv[1]).buf[0] = 3
        assert resource_tracker._resource_tracker._fd is None  # not even started
        """,
        memory.name,
    )
    assert said == ("", "")
    assert exists(memory.name) and memory.buf[0] == 3


@pytest.mark.parametrize("end", ["ends", "is killed"])
def test_what_is_registered_goes_when_its_program_has_gone(family: Any, end: str) -> None:
    output, errors = family(
        """
        import os, signal, sys
        from tasuki.shared_memory import SharedMemory
        memory = SharedMemory(create=True, size=10)
        print(memory.name, flush=True)
        if sys.argv[1] == "is killed":
            os.kill(os.getpid(), signal.SIGKILL)
        """,
        end,
    )
    assert "1 leaked shared_memory objects to clean up" in errors
    assert output.startswith("psm_") and not exists(output.strip())


def test_what_is_not_tracked_stays(family: Any) -> None:
    output, errors = family(
        """
        from tasuki.shared_memory import SharedMemory
        from multiprocessing import resource_tracker
        memory = SharedMemory(create=True, size=10, track=False)
        print(memory.name)
        assert resource_tracker._resource_tracker._fd is None
        """
    )
    assert errors == ""
    SharedMemory(output.strip()).unlink()


def test_an_opener_that_asks_for_it_is_tracked(family: Any, memory: SharedMemory) -> None:
    source = "import sys; from tasuki.shared_memory import SharedMemory; SharedMemory(sys.argv[1], track=True)"
    _, errors = family(source, memory.name)
    assert "1 leaked shared_memory objects to clean up" in errors
    assert not exists(memory.name)


UNLINKERS = {
    "the creator": "memory.unlink()",
    "another object": "SharedMemory(memory.name).unlink()",
    "a standard one": "standard = STANDARD(memory.name); standard.close(); standard.unlink()",
    "a child": "child(unlink, memory.name)",
    "a child that was given it": "child(unlink_object, memory)",
    "another program": (
        "subprocess.run([sys.executable, '-c', "
        "'import sys; from tasuki.shared_memory import SharedMemory; SharedMemory(sys.argv[1]).unlink()',"
        "memory.name], check=True)"
    ),
    "a file manager": "os.unlink(f'/dev/shm/{memory.name}')",
}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("who", UNLINKERS)
def test_whoever_unlinks_the_tracker_is_quiet(family: Any, who: str, method: str) -> None:
    said = family(
        f"""
        import multiprocessing.shared_memory, os, subprocess, sys
        import tasuki
        from tasuki.shared_memory import SharedMemory

        STANDARD = multiprocessing.shared_memory.SharedMemory

        def unlink(name):
            SharedMemory(name).unlink()

        def unlink_object(memory):
            memory.unlink()

        def child(*work):
            process = tasuki.get_context({method!r}).Process(target=work[0], args=work[1:])
            process.start()
            process.join()
            assert process.exitcode == 0

        if __name__ == "__main__":
            memory = SharedMemory(create=True, size=10)
            {UNLINKERS[who]}
            assert not os.path.exists(f"/dev/shm/{{memory.name}}")
        """
    )
    assert said == ("", "")


def test_a_name_that_is_used_again_is_registered_again(family: Any) -> None:
    said = family(
        """
        import os, subprocess, sys
        from tasuki.shared_memory import SharedMemory
        name = f"tasuki-{os.getpid()}"
        for _ in range(3):
            memory = SharedMemory(name, create=True, size=10)
            SharedMemory(name).unlink()
        memory = SharedMemory(name, create=True, size=10)
        os.unlink(f"/dev/shm/{name}")
        again = SharedMemory(name, create=True, size=20)
        assert SharedMemory(name).size == 20
        again.unlink()
        """
    )
    assert said == ("", "")


def test_names_that_the_tracker_cannot_spell_make_no_noise(family: Any) -> None:
    said = family(
        """
        from tasuki.shared_memory import SharedMemory
        import os
        for odd in ("a:b", "襷", " x", "x\\n", "\\x7f"):
            memory = SharedMemory(f"tasuki-{os.getpid()}{odd}", create=True, size=10)
            assert SharedMemory(memory.name).size == 10
            memory.unlink()
        """
    )
    assert said == ("", "")


def test_a_killed_opener_takes_nothing_with_it(family: Any, memory: SharedMemory) -> None:
    said = family(
        """
        import os, signal, sys
        from tasuki.shared_memory import SharedMemory
        memory = SharedMemory(sys.argv[1])
        memory.buf[0] = 4
        os.kill(os.getpid(), signal.SIGKILL)
        """,
        memory.name,
    )
    assert said == ("", "")
    assert exists(memory.name) and memory.buf[0] == 4


def test_what_programs_do_against_the_standard_tracker_does_no_harm(family: Any, memory: SharedMemory) -> None:
    said = family(
        """
        import sys
        import tasuki
        tasuki.install()
        from multiprocessing import resource_tracker
        from multiprocessing.shared_memory import SharedMemory
        opened = SharedMemory(sys.argv[1])
        resource_tracker.unregister(opened._name, "shared_memory")
        made = SharedMemory(create=True, size=1)
        made.unlink()
        """,
        memory.name,
    )
    assert said == ("", "")
    assert exists(memory.name)


def _create_and_die(queue: Any) -> None:
    memory = SharedMemory(create=True, size=10)
    queue.put(memory.name)
    os.kill(os.getpid(), signal.SIGKILL)


def test_memory_of_a_killed_child_is_there_for_the_others(ctx: Any) -> None:
    queue = ctx.Queue()
    process = ctx.Process(target=_create_and_die, args=(queue,))
    process.start()
    name = queue.get(timeout=120)
    process.join(120)
    memory = SharedMemory(name)
    memory.buf[0] = 1
    memory.unlink()


# --- a system without room for it

NAMESPACE = """
    import os, subprocess, sys
    # In mounts of its own: {options} at {place}.
    subprocess.run(["mount", "-t", "tmpfs", "-o", "{options}", "none", "{place}"], check=True)
    from tasuki.shared_memory import SharedMemory, ShareableList
    def refused(size):
        try:
            SharedMemory(create=True, size=size)
        except OSError as error:
            return error
        raise AssertionError("no error")
"""

may_mount = subprocess.run(["unshare", "-Urm", "true"], capture_output=True, check=False).returncode == 0


def in_namespace(tmp_path: Path, place: str, options: str, source: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(
        textwrap.dedent(NAMESPACE).format(place=place, options=options) + textwrap.dedent(source), encoding="utf-8"
    )
    command = ["unshare", "-Urm", sys.executable, str(script)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_more_than_there_is_room_for_is_an_os_error() -> None:
    with pytest.raises(OSError, match="/dev/shm is too small") as refused:
        SharedMemory(create=True, size=1 << 50)
    assert refused.value.errno == errno.ENOSPC


PLACES = {
    "small": (
        "/dev/shm",
        "size=1m",
        """
        full = SharedMemory(create=True, size=512 << 10)
        for size in ((512 << 10) + 1, 1 << 30):
            error = refused(size)
            assert error.errno == 28 and "--shm-size" in str(error), error
        try:
            ShareableList([b"x" * (600 << 10)])
        except OSError as error:
            assert error.errno == 28
        assert os.listdir("/dev/shm") == [full.name]
        full.buf[:] = bytes(len(full.buf))
        full.unlink()
        """,
    ),
    "read-only": (
        "/dev/shm",
        "ro",
        "error = refused(1); assert error.errno == 30 and 'read-only' in str(error), error",
    ),
    "missing": (
        "/dev",
        "size=1m",
        "error = refused(1); assert error.errno == 2 and 'no /dev/shm' in str(error), error",
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_a_place_without_room_is_an_os_error_and_no_sigbus(tmp_path: Path, place: str) -> None:
    if may_mount:
        in_namespace(tmp_path, *PLACES[place])
    else:
        # No mounts of our own here: as little room as a limit of the process can make.
        code = (
            "import resource; from tasuki.shared_memory import SharedMemory\n"
            "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
            "try: SharedMemory(create=True, size=2000)\n"
            "except OSError as error: assert error.errno == 27, error\n"
            "else: raise AssertionError\n"
        )
        subprocess.run([sys.executable, "-c", code], check=True)


def test_what_was_truncated_is_refused_when_it_is_opened(memory: SharedMemory) -> None:
    os.truncate(f"/dev/shm/{memory.name}", 3)
    assert SharedMemory(memory.name).size == 3
    os.truncate(f"/dev/shm/{memory.name}", 0)
    with pytest.raises(ValueError, match="is empty"):
        SharedMemory(memory.name)


# --- install()


@pytest.mark.parametrize("order", ["before", "after", "ours first"])
def test_install_puts_our_class_where_programs_look_for_it(run: Any, order: str) -> None:
    imports = {
        "before": "import multiprocessing.shared_memory, tasuki; tasuki.install()",
        "after": "import tasuki; tasuki.install(); import multiprocessing.shared_memory",
        "ours first": "import tasuki; tasuki.install(); import tasuki.shared_memory, multiprocessing.shared_memory",
    }
    run(
        f"""
        {imports[order]}
        from multiprocessing.shared_memory import SharedMemory, ShareableList
        from multiprocessing.managers import SharedMemoryManager
        import multiprocessing, tasuki.shared_memory
        assert SharedMemory is tasuki.shared_memory.SharedMemory
        assert ShareableList is tasuki.shared_memory.ShareableList

        def work(memory):
            from multiprocessing.shared_memory import SharedMemory
            assert type(memory) is SharedMemory is tasuki.shared_memory.SharedMemory
            memory.buf[0] = 3

        if __name__ == "__main__":
            with SharedMemoryManager() as manager:
                memory = manager.SharedMemory(10)
                assert type(memory) is SharedMemory
                for method in ("fork", "spawn"):
                    memory.buf[0] = 0
                    process = multiprocessing.get_context(method).Process(target=work, args=(memory,))
                    process.start()
                    process.join()
                    assert process.exitcode == 0 and memory.buf[0] == 3
        """
    )


def test_the_standard_class_is_left_alone_without_install() -> None:
    assert STANDARD is not SharedMemory
    assert tasuki.shared_memory.SharedMemory is SharedMemory
