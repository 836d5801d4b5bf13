"""Event: all who wait are released, whoever dies, in every kind of process and among threads."""

from __future__ import annotations

import multiprocessing.synchronize
import os
import pickle
import re
import signal
import threading
import time
from typing import Any

import pytest

from observing import descriptors, processor_seconds, resident
import tasuki
from deadlines import WATCHDOG, struck_asleep, until_asleep


def test_it_is_set_until_it_is_cleared() -> None:
    event = tasuki.Event()
    assert event.is_set() is False
    assert event.clear() is None
    for _ in range(2):
        assert event.set() is None
        event.set()
        assert event.is_set() is True
        assert event.wait() is True
        assert event.wait(0) is True
        event.clear()
        assert event.is_set() is False


def test_a_wait_keeps_its_time() -> None:
    event = tasuki.Event()
    for timeout in (0, 0.0, -1, 0.1, 0.7):
        began = time.monotonic()
        assert event.wait(timeout) is False
        assert time.monotonic() - began >= timeout
    assert event.wait(timeout=0.01) is False
    with pytest.raises(TypeError):
        event.wait("soon")
    event.set()
    assert event.wait(None) is True


def test_isinstance_repr_and_what_subclasses_do() -> None:
    event = tasuki.Event()
    assert isinstance(event, multiprocessing.synchronize.Event)
    assert re.fullmatch(r"<Event at 0x[0-9a-f]+ unset>", repr(event))
    event.set()
    assert re.fullmatch(r"<Event at 0x[0-9a-f]+ set>", repr(event))

    class Named(type(event)):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            super().__init__(ctx=None)
            self.name = name

    named = Named("mine")
    named.set()
    assert named.name == "mine" and named.is_set()

    class Forgetful(type(event)):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="super"):
        Forgetful().is_set()


# --- between processes


def _answer(asked: Any, answered: Any) -> None:
    if asked.wait(WATCHDOG):
        answered.set()


def test_processes_wait_for_each_other(ctx: Any) -> None:
    asked, answered = ctx.Event(), ctx.Event()
    process = ctx.Process(target=_answer, args=(asked, answered))
    process.start()
    assert not answered.wait(0.1)
    asked.set()
    assert answered.wait(WATCHDOG)
    process.join(WATCHDOG)
    assert process.exitcode == 0


def _count_in(event: Any, ready: Any, released: Any) -> None:
    ready.put(os.getpid())
    if event.wait(WATCHDOG):
        released.put(os.getpid())


def test_who_waits_is_released_even_if_it_is_cleared_at_once(ctx: Any) -> None:
    event, ready, released = ctx.Event(), ctx.Queue(), ctx.Queue()
    processes = [ctx.Process(target=_count_in, args=(event, ready, released)) for _ in range(4)]
    for process in processes:
        process.start()
    pids = {ready.get(timeout=WATCHDOG) for _ in processes}
    until_asleep(*pids)
    event.set()
    event.clear()
    assert {released.get(timeout=WATCHDOG) for _ in processes} == pids
    for process in processes:
        process.join(WATCHDOG)
    assert event.wait(0) is False


def test_threads_of_one_process_wait_for_each_other() -> None:
    there, back, log = tasuki.Event(), tasuki.Event(), []

    def other() -> None:
        for turn in range(200):
            there.wait()
            there.clear()
            log.append(turn)
            back.set()

    thread = threading.Thread(target=other)
    thread.start()
    for turn in range(200):
        there.set()
        assert back.wait(WATCHDOG)
        back.clear()
        assert log[-1] == turn
    thread.join(WATCHDOG)


def test_a_killed_waiter_concerns_nobody(ctx: Any) -> None:
    event, ready, released = ctx.Event(), ctx.Queue(), ctx.Queue()
    processes = [ctx.Process(target=_count_in, args=(event, ready, released), daemon=True) for _ in range(3)]
    for process in processes:
        process.start()
    pids = [ready.get(timeout=WATCHDOG) for _ in processes]
    until_asleep(*pids)
    processes[0].kill()
    processes[0].join(WATCHDOG)
    event.set()
    assert {released.get(timeout=WATCHDOG) for _ in processes[1:]} == {process.pid for process in processes[1:]}
    for process in processes[1:]:
        process.join(WATCHDOG)
    event.clear()
    event.set()
    assert event.wait(0)


def _flip_for_ever(event: Any) -> None:
    while True:
        event.set()
        event.clear()


def test_setters_killed_at_any_moment_leave_it_usable(ctx: Any) -> None:
    event = ctx.Event()
    rounds = int(os.environ.get("TASUKI_STORM_ROUNDS", "30")) // 10
    for _ in range(rounds):
        process = ctx.Process(target=_flip_for_ever, args=(event,), daemon=True)
        process.start()
        assert event.wait(WATCHDOG)
        process.kill()
        process.join(WATCHDOG)
        event.clear()
        assert event.is_set() is False
        event.set()
        assert event.wait(0) is True
        event.clear()


# --- travelling


def _set_what_comes(queue: Any) -> None:
    for event in queue.get(timeout=WATCHDOG):
        event.set()


@pytest.mark.parametrize("codec", ["pickle", "msgpack"])
def test_it_travels_through_a_queue(ctx: Any, codec: str) -> None:
    queue, events = ctx.Queue(codec=codec), [ctx.Event() for _ in range(3)]
    process = ctx.Process(target=_set_what_comes, args=(queue,))
    process.start()
    queue.put(events)
    assert all(event.wait(WATCHDOG) for event in events)
    process.join(WATCHDOG)


def _set_what_comes_by_pipe(end: Any, done: Any) -> None:
    end.recv().set()
    done.wait(WATCHDOG)


def test_it_travels_through_a_pipe(ctx: Any) -> None:
    ours, theirs = ctx.Pipe()
    event, done = ctx.Event(), ctx.Event()
    process = ctx.Process(target=_set_what_comes_by_pipe, args=(theirs, done))
    process.start()
    ours.send(event)
    assert event.wait(WATCHDOG)
    done.set()
    process.join(WATCHDOG)


def test_a_pickle_is_another_handle_to_it() -> None:
    event = tasuki.Event()
    again = pickle.loads(pickle.dumps(event))
    again.set()
    assert event.is_set()


# --- many, and long


def _wait_in_turn(events: Any, rounds: int, passed: Any) -> None:
    for turn in range(rounds):
        assert events[turn % 2].wait(120)
        passed.release()


def test_no_wake_up_is_lost_among_64_processes() -> None:
    ctx = tasuki.get_context("fork")
    rounds = 500 if os.environ.get("TASUKI_SOAK") == "1" else 20
    events, passed = [ctx.Event(), ctx.Event()], ctx.Semaphore(0)
    processes = [ctx.Process(target=_wait_in_turn, args=(events, rounds, passed), daemon=True) for _ in range(64)]
    for process in processes:
        process.start()
    for turn in range(rounds):
        events[(turn + 1) % 2].clear()
        events[turn % 2].set()
        for _ in processes:
            assert passed.acquire(timeout=120)
    for process in processes:
        process.join(WATCHDOG)
        assert process.exitcode == 0


def test_those_who_wait_use_no_processor() -> None:
    ctx = tasuki.get_context("fork")
    event, ready, released = ctx.Event(), ctx.Queue(), ctx.Queue()
    processes = [ctx.Process(target=_count_in, args=(event, ready, released), daemon=True) for _ in range(8)]
    for process in processes:
        process.start()
    pids = [ready.get(timeout=WATCHDOG) for _ in processes]
    until_asleep(*pids)
    before = sum(map(processor_seconds, pids))
    time.sleep(3)
    assert sum(map(processor_seconds, pids)) - before < 0.5
    event.set()
    for process in processes:
        process.join(WATCHDOG)


def test_ten_thousand_come_and_go_without_a_trace() -> None:
    def come_and_go(times: int) -> None:
        for _ in range(times):
            event = tasuki.Event()
            event.set()
            assert event.is_set()

    come_and_go(1000)
    kept = [tasuki.Event() for _ in range(10_000)]
    assert not any(event.is_set() for event in kept)
    before = descriptors(), resident()
    come_and_go(10_000)
    assert descriptors() <= before[0]
    assert resident() < before[1] + (4 << 20)


# --- signals


@pytest.mark.parametrize("timeout", [None, WATCHDOG])
def test_ctrl_c_interrupts_a_wait(timeout: float | None) -> None:
    event = tasuki.Event()
    with pytest.raises(KeyboardInterrupt), struck_asleep(signal.SIGINT):
        event.wait(timeout)
    event.set()
    assert event.wait(0)


def test_a_handler_may_set_what_its_thread_waits_for() -> None:
    event = tasuki.Event()
    previous = signal.signal(signal.SIGUSR1, lambda *_: event.set())
    try:
        with struck_asleep(signal.SIGUSR1):
            assert event.wait(WATCHDOG) is True
    finally:
        signal.signal(signal.SIGUSR1, previous)
