"""The end of a process: its sentinel tells of nobody else's, and whoever has joined knows the exit code."""

from __future__ import annotations

import importlib
import os
import threading
from typing import Any

import pytest

import tasuki
from tasuki.connection import wait


def _outlived(pipe: Any, release: Any) -> None:
    """Ends, and leaves a process that has a copy of every descriptor until it is told to end."""
    pid = os.fork()
    if pid == 0:
        release.poll(1000)
        os._exit(0)
    pipe.send(pid)


def test_a_sentinel_tells_though_others_have_copies_of_its_descriptors(ctx: Any) -> None:
    here, there = ctx.Pipe()
    hold, release = ctx.Pipe(duplex=False)
    process = ctx.Process(target=_outlived, args=(there, hold))
    process.start()
    grandchild = here.recv()
    try:
        assert wait([process.sentinel], 120) == [process.sentinel]
        process.join(120)
        assert process.exitcode == 0
        os.kill(grandchild, 0)  # it is there still
    finally:
        release.send(None)


def _exit(code: int) -> None:
    os._exit(code)


def test_whoever_has_joined_knows_the_exit_code(ctx: Any) -> None:
    for code in range(1, 13):
        process = ctx.Process(target=_exit, args=(code,))
        process.start()
        seen: list[int | None] = []

        def join(timeout: float | None, process: Any = process, seen: list[int | None] = seen) -> None:
            process.join(timeout)
            seen.append(process.exitcode)

        threads = [threading.Thread(target=join, args=(timeout,)) for timeout in (None, 120, None, 120)]
        for thread in threads:
            thread.start()
        while process.is_alive():
            pass
        assert process.exitcode == code
        for thread in threads:
            thread.join(120)
        assert seen == [code] * 4
        process.close()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_what_is_forked_while_a_thread_asks_for_a_process_can_ask_too(ctx: Any) -> None:
    """As servers that fork do. Every start of a process asks for those that were started before."""
    pipe, its = ctx.Pipe()
    process = ctx.Process(target=_receive, args=(its,))
    process.start()
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            process.is_alive()

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(300):
            pid = os.fork()
            if pid == 0:
                assert process.exitcode is None
                tasuki.active_children()
                os._exit(0)
            assert os.waitpid(pid, 0) == (pid, 0)
    finally:
        over.set()
        asking.join()
        pipe.send(None)
        process.join()
    assert process.exitcode == 0


def _receive(pipe: Any) -> None:
    pipe.recv()


def test_a_handler_may_ask_for_the_process_that_is_asked_for(ctx: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(
        "multiprocessing.popen_forkserver" if ctx.get_start_method() == "forkserver" else "multiprocessing.popen_fork"
    )
    ask = module.Popen.poll
    process: Any = None
    seen: list[Any] = []
    is_inside = False

    def interrupted(popen: Any, flag: int = os.WNOHANG) -> Any:
        # What a handler of SIGCHLD does that the interpreter runs at this moment, in the thread that asks.
        nonlocal is_inside
        if popen.returncode is None and not is_inside:
            is_inside = True
            seen.append((process.is_alive(), process.exitcode, tasuki.active_children()))
            is_inside = False
        return ask(popen, flag)

    monkeypatch.setattr(module.Popen, "poll", interrupted)
    for code in range(1, 8):
        process = ctx.Process(target=_exit, args=(code,))
        process.start()
        wait([process.sentinel], 120)
        process.join(120)
        assert process.exitcode == code
        assert seen
        process.close()
        seen.clear()


def test_who_starts_processes_in_threads_hears_of_each_end_alone(ctx: Any) -> None:
    """Siblings that are started at the same time have copies of what tells of each other's end."""
    hold, release = ctx.Pipe(duplex=False)
    long = [ctx.Process(target=hold.poll, args=(1000,)) for _ in range(4)]
    short = [ctx.Process(target=_exit, args=(5,)) for _ in range(8)]
    threads = []
    for process in [one for pair in zip(short[:4], long, short[4:]) for one in pair]:
        threads.append(threading.Thread(target=process.start))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    try:
        for process in short:
            assert wait([process.sentinel], 120) == [process.sentinel]
            process.join()
            assert process.exitcode == 5
        assert all(process.is_alive() for process in long)
    finally:
        release.send(None)
        for process in long:
            process.kill()
            process.join()


def _orphan(pipe: Any) -> None:
    parent = tasuki.parent_process()
    pipe.send("there")
    parent.join(120)
    pipe.send("alone" if not parent.is_alive() else "late")


def _stay(pipe: Any) -> None:
    pipe.send("there")
    pipe.recv()


def _die_with_two_children(method: str, first: Any, second: Any, go: Any) -> None:
    context = tasuki.get_context(method)
    context.Process(target=_orphan, args=(first,)).start()
    # Has copies of everything that this process has.
    tasuki.get_context("fork").Process(target=_stay, args=(second,)).start()
    go.recv()
    os._exit(0)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_hears_of_its_parents_end_though_a_sibling_lives(method: str) -> None:
    context = tasuki.get_context("fork")
    (first, one), (second, two), (go, start) = context.Pipe(), context.Pipe(), context.Pipe()
    parent = context.Process(target=_die_with_two_children, args=(method, one, two, start))
    parent.start()
    assert first.recv() == second.recv() == "there"
    try:
        go.send(None)
        parent.join(120)
        assert first.recv() == "alone"
    finally:
        second.send(None)
