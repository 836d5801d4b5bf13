"""A pipe has no descriptors before somebody needs them, and nobody can tell but by counting."""

from __future__ import annotations

import os
import platform
import resource
import threading
from collections.abc import Callable
from typing import Any

import pytest

import tasuki
from tasuki import reduction
from observing import descriptors
from deadlines import WATCHDOG, until_asleep


def _child(body: Callable[[], object]) -> int:
    """The pid of a forked child that runs `body`; it ends with 0 if that raises nothing."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            body()
            code = 0
        finally:
            os._exit(code)
    return pid


def _ended_well(pid: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize("duplex", [True, False])
def test_what_stays_in_a_process_takes_no_descriptors(duplex: bool) -> None:
    tasuki.Pipe()  # whatever all pipes share is there
    before = descriptors()
    there, here = tasuki.Pipe(duplex)
    for length in (0, 10, 100_000):
        here.send_bytes(bytes(length))
        assert there.poll() and len(there.recv_bytes()) == length
    assert not there.poll()
    here.send("last")
    here.close()
    assert there.recv() == "last"
    assert there.poll()
    assert descriptors() == before
    with pytest.raises(EOFError):
        there.recv()
    there, here = tasuki.Pipe(duplex)
    there.close()
    with pytest.raises(BrokenPipeError):
        here.send("nobody is there")


def _sends_a_descriptor(there: Any, here: Any) -> None:
    reduction.send_handle(here, 0, os.getpid())
    os.close(reduction.recv_handle(there))


def _travels(there: Any, here: Any) -> None:
    outer, inner = tasuki.Pipe()
    outer.send(here)
    inner.recv().close()


NEEDS = {
    "poll": lambda there, here: there.poll(0.001),
    "wait": lambda there, here: tasuki.connection.wait([there], 0.001),
    "fileno": lambda there, here: there.fileno(),
    "fileno to send": lambda there, here: here.fileno(),
    "send_handle": _sends_a_descriptor,
    "travel": _travels,
    "fork": lambda there, here: _ended_well(_child(lambda: None)),
}


@pytest.mark.parametrize("needs", NEEDS.values(), ids=list(NEEDS))
@pytest.mark.parametrize("duplex", [True, False])
def test_after_whatever_needs_descriptors_it_is_the_same_pipe(duplex: bool, needs: Callable[..., object]) -> None:
    tasuki.Pipe()
    there, here = tasuki.Pipe(duplex)
    here.send("before")
    assert there.recv() == "before"
    before = descriptors()
    needs(there, here)
    assert descriptors() > before
    here.send("after")
    assert there.recv() == "after" and not there.poll()
    here.close()
    with pytest.raises(EOFError):
        there.recv()


def test_who_sleeps_is_woken_by_what_another_thread_sends() -> None:
    for duplex in (True, False):
        there, here = tasuki.Pipe(duplex)
        got: list[Any] = []
        receiver = threading.Thread(target=lambda: got.append(there.recv()))
        receiver.start()
        until_asleep(receiver.native_id)
        here.send("message")
        receiver.join(WATCHDOG)
        assert got == ["message"]


def test_a_child_has_both_ends_whatever_its_parent_does_with_its_own() -> None:
    there, here = tasuki.Pipe(False)
    go, ready = tasuki.Event(), tasuki.Event()

    def send() -> None:
        there.close()
        ready.set()
        assert go.wait(WATCHDOG)
        here.send("from the child")

    child = _child(send)
    here.close()
    assert ready.wait(WATCHDOG)
    assert not there.poll()  # it is not the end
    go.set()
    assert there.recv() == "from the child"
    assert _ended_well(child)
    with pytest.raises(EOFError):
        there.recv()


def test_an_end_that_was_closed_before_the_fork_is_gone_in_both() -> None:
    there, here = tasuki.Pipe(False)
    there.close()

    def send() -> None:
        with pytest.raises(BrokenPipeError):
            here.send("nobody is there")

    assert _ended_well(_child(send))
    send()


def test_a_fork_without_descriptors_to_be_had_is_told_by_the_pipe() -> None:
    def refused() -> None:
        with pytest.raises(OSError, match="Too many open files"):
            here.send("message")
        with pytest.raises(OSError, match="Too many open files"):
            there.poll()

    there, here = tasuki.Pipe()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # All lower numbers are in use.
    highest = max(map(int, os.listdir("/proc/self/fd")))
    taken = [os.open("/dev/null", os.O_RDONLY)]
    while taken[-1] < highest:
        taken.append(os.dup(taken[0]))
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[-1] + 1, hard))
    try:
        child = _child(refused)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for fd in taken:
            os.close(fd)
    assert _ended_well(child)
    # Here the pipe is as good as before.
    here.send("message")
    assert there.poll(WATCHDOG)
    assert there.recv() == "message"
    child = _child(lambda: here.send(there.recv() + 1))
    here.send(1)
    assert _ended_well(child)
    assert there.recv() == 2


@pytest.mark.skipif(
    platform.machine() != "x86_64",
    reason="57 is the system call fork() of x86-64; other machines have none that goes by the C library's hooks",
)
def test_a_child_of_no_fork_does_not_make_the_pipe_a_second_time(run: Any) -> None:
    run(
        """
        import ctypes, os, tasuki
        there, here = tasuki.Pipe()
        pid = ctypes.CDLL(None).syscall(57)  # fork, without the hooks of the C library
        if pid == 0:
            code = 1
            try:
                there.poll(1)
            except OSError as error:
                code = 0 if "other means than fork" in str(error) else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        here.send("the parent goes on")
        assert there.recv() == "the parent goes on"
        """
    )


def test_forks_meet_threads_that_make_and_drop_pipes() -> None:
    stop = threading.Event()

    def make() -> None:
        while not stop.is_set():
            there, here = tasuki.Pipe()
            here.send(1)
            assert there.recv() == 1
            there.close()

    makers = [threading.Thread(target=make) for _ in range(2)]
    for maker in makers:
        maker.start()
    try:
        for _ in range(100):
            there, here = tasuki.Pipe()
            child = _child(lambda: here.send(there.recv() + 1))
            here.send(1)
            assert _ended_well(child)
            assert there.recv() == 2
    finally:
        stop.set()
        for maker in makers:
            maker.join(WATCHDOG)
