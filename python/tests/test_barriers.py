"""Barrier: all go on together, each with an index of its own, and nobody waits for the dead."""

from __future__ import annotations

import gc
import multiprocessing.synchronize
import os
import pickle
import signal
import threading
import time
from typing import Any

import pytest

from observing import descriptors, processor_seconds, resident
import tasuki
from deadlines import WATCHDOG, until, until_asleep, when_asleep

BROKEN = threading.BrokenBarrierError


def _pass(barrier: Any, counter: Any, indices: Any, rounds: int) -> None:
    parties = barrier.parties
    for number in range(1, rounds + 1):
        with counter.get_lock():
            counter.value += 1
        indices.put(barrier.wait())
        assert counter.value == number * parties
        barrier.wait()


def test_processes_and_threads_go_on_together(ctx: Any) -> None:
    barrier, counter, indices = ctx.Barrier(4), ctx.Value("i", 0), ctx.Queue()
    others = [ctx.Process(target=_pass, args=(barrier, counter, indices, 20)) for _ in range(2)]
    others.append(threading.Thread(target=_pass, args=(barrier, counter, indices, 20)))
    for other in others:
        other.start()
    _pass(barrier, counter, indices, 20)
    for other in others:
        other.join(WATCHDOG)
    assert [other.exitcode for other in others[:2]] == [0, 0]
    got = sorted(indices.get(timeout=WATCHDOG) for _ in range(80))
    assert got == [index for index in range(4) for _ in range(20)]
    assert (barrier.n_waiting, barrier.broken) == (0, False)


def test_it_is_the_standard_class_and_says_so() -> None:
    barrier = tasuki.Barrier(3)
    assert isinstance(barrier, multiprocessing.synchronize.Barrier)
    assert isinstance(barrier, threading.Barrier)
    assert tasuki.ENGINE["Barrier"] == "tasuki.synchronize.Barrier"
    assert (barrier.parties, barrier.n_waiting, barrier.broken) == (3, 0, False)
    barrier.abort()
    assert "Barrier" in repr(barrier)


def test_arguments_are_checked() -> None:
    for wrong in (0, -1):
        with pytest.raises(ValueError):
            tasuki.Barrier(wrong)
    with pytest.raises(TypeError):
        tasuki.Barrier("3")
    with pytest.raises(MemoryError, match="4000"):
        tasuki.Barrier(10**6)
    alone = tasuki.Barrier(1)
    assert [alone.wait(), alone.wait(0)] == [0, 0]
    with pytest.raises(TypeError):
        alone.wait("long")


@pytest.mark.parametrize("timeout", [0, -1, 0.05, 0.7])
def test_a_timeout_breaks_it(timeout: float) -> None:
    for barrier, argument in ((tasuki.Barrier(2), timeout), (tasuki.Barrier(2, timeout=timeout), None)):
        began = time.monotonic()
        with pytest.raises(BROKEN, match="in time"):
            barrier.wait(argument)
        assert time.monotonic() - began >= timeout
        assert barrier.broken
        with pytest.raises(BROKEN, match=f"timeout of process {os.getpid()} ran out"):
            barrier.wait()
        barrier.reset()
        assert not barrier.broken


def _wait_and_tell(barrier: Any, answers: Any) -> None:
    try:
        answers.put(barrier.wait(WATCHDOG))
    except BROKEN as error:
        answers.put(str(error))


def _waiting(ctx: Any, barrier: Any, count: int) -> tuple[list[Any], Any]:
    answers = ctx.Queue()
    processes = [ctx.Process(target=_wait_and_tell, args=(barrier, answers), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    until(lambda: barrier.n_waiting == count)
    return processes, answers


def test_abort_and_reset_free_those_who_wait(ctx: Any) -> None:
    barrier = ctx.Barrier(3)
    for act, text in ((barrier.abort, f"process {os.getpid()} aborted it"), (barrier.reset, "was reset")):
        processes, answers = _waiting(ctx, barrier, 2)
        act()
        for _ in processes:
            assert text in answers.get(timeout=WATCHDOG)
        for process in processes:
            process.join(WATCHDOG)
        barrier.reset()
    assert (barrier.n_waiting, barrier.broken) == (0, False)


class _Add:
    def __init__(self, value: Any) -> None:
        self.value = value

    def __call__(self) -> None:
        time.sleep(0.05)
        self.value.value += 1


def _wait_and_check(barrier: Any, value: Any) -> None:
    barrier.wait()
    assert value.value == 1


def test_the_action_runs_once_before_anybody_goes_on(ctx: Any) -> None:
    value = ctx.Value("i", 0)
    barrier = ctx.Barrier(3, action=_Add(value))
    processes = [ctx.Process(target=_wait_and_check, args=(barrier, value)) for _ in range(2)]
    for process in processes:
        process.start()
    _wait_and_check(barrier, value)
    for process in processes:
        process.join(WATCHDOG)
        assert process.exitcode == 0


def test_an_action_that_raises_breaks_it() -> None:
    def fail() -> None:
        raise KeyError("as intended")

    barrier = tasuki.Barrier(2, fail)
    texts: list[str] = []

    def wait() -> None:
        try:
            barrier.wait()
        except BROKEN as error:
            texts.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: barrier.n_waiting == 1)
    with pytest.raises(KeyError, match="as intended"):
        barrier.wait()
    thread.join(WATCHDOG)
    assert len(texts) == 1 and f"failed in process {os.getpid()}" in texts[0]
    barrier.reset()


def test_who_waits_hears_of_a_party_killed_while_it_waited(ctx: Any) -> None:
    barrier = ctx.Barrier(4)
    processes, answers = _waiting(ctx, barrier, 3)
    processes[0].kill()
    texts = [answers.get(timeout=WATCHDOG) for _ in range(2)]
    assert all(f"process {processes[0].pid}" in text and "died" in text for text in texts)
    with pytest.raises(BROKEN, match=str(processes[0].pid)):
        barrier.wait()
    for process in processes:
        process.join(WATCHDOG)


def _pass_once_then(barrier: Any, ready: Any, leave: bool) -> None:
    barrier.wait()
    ready.put(None)
    if not leave:
        time.sleep(1000)


def test_who_waits_hears_of_a_party_killed_between_two_rounds(ctx: Any) -> None:
    barrier, ready = ctx.Barrier(2), ctx.Queue()
    process = ctx.Process(target=_pass_once_then, args=(barrier, ready, False), daemon=True)
    process.start()
    barrier.wait()
    ready.get(timeout=WATCHDOG)
    with pytest.raises(BROKEN, match=f"process {process.pid} .*died"), when_asleep(process.kill):
        barrier.wait(WATCHDOG)
    process.join(WATCHDOG)


def test_a_party_that_ended_by_itself_may_have_a_successor(ctx: Any) -> None:
    barrier, ready = ctx.Barrier(2), ctx.Queue()
    for _ in range(3):
        process = ctx.Process(target=_pass_once_then, args=(barrier, ready, True))
        process.start()
        barrier.wait(WATCHDOG)
        ready.get(timeout=WATCHDOG)
        process.join(WATCHDOG)
        assert process.exitcode == 0
        with pytest.raises(TimeoutError):
            _wait_interrupted(barrier, 0.8)  # more than a look at the dead
        assert not barrier.broken


def _wait_interrupted(barrier: Any, seconds: float) -> None:
    def handler(*_: Any) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, seconds)
        barrier.wait()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_a_signal_handler_that_raises_gives_the_seat_back() -> None:
    barrier = tasuki.Barrier(2)
    for _ in range(3):
        with pytest.raises(TimeoutError):
            _wait_interrupted(barrier, 0.05)
        assert (barrier.n_waiting, barrier.broken) == (0, False)
    thread = threading.Thread(target=barrier.wait)
    thread.start()
    barrier.wait(WATCHDOG)
    thread.join(WATCHDOG)


def _die(_: Any = None) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_who_waits_hears_of_a_death_in_the_action(ctx: Any) -> None:
    barrier = ctx.Barrier(3, action=_die)
    processes, answers = _waiting(ctx, barrier, 2)
    last = ctx.Process(target=_wait_and_tell, args=(barrier, answers))
    last.start()
    last.join(WATCHDOG)
    assert last.exitcode == -signal.SIGKILL
    for _ in processes:
        assert f"process {last.pid}" in answers.get(timeout=WATCHDOG)
    for process in processes:
        process.join(WATCHDOG)


def _use_what_comes(channel: Any) -> None:
    barrier = channel.get() if hasattr(channel, "get") else channel.recv()
    barrier.wait()


@pytest.mark.parametrize("way", ["pickle", "msgpack", "pipe", "SimpleQueue"])
def test_it_travels(ctx: Any, way: str) -> None:
    barrier = ctx.Barrier(2, timeout=WATCHDOG)
    if way == "pipe":
        theirs, ours = ctx.Pipe()
        send = ours.send
    else:
        theirs = ctx.SimpleQueue() if way == "SimpleQueue" else ctx.Queue(codec=way)
        send = theirs.put
    process = ctx.Process(target=_use_what_comes, args=(theirs,))
    process.start()
    send(barrier)
    barrier.wait()
    process.join(WATCHDOG)
    assert process.exitcode == 0


def test_action_and_timeout_travel_and_an_action_never_to_another_language() -> None:
    barrier = tasuki.Barrier(1, action=_Add(tasuki.Value("i", 0)), timeout=0.01)
    again = pickle.loads(pickle.dumps(barrier))
    again.wait()
    assert again._action.value.value == 1
    with pytest.raises(TypeError, match="action"):
        tasuki.Queue(codec="msgpack").put(barrier)


def _many_rounds(barrier: Any, rounds: int) -> None:
    for _ in range(rounds):
        barrier.wait()


def test_sixty_four_processes() -> None:
    ctx = tasuki.get_context("fork")
    rounds = int(os.environ.get("TASUKI_STORM_ROUNDS", "20"))
    barrier = ctx.Barrier(64)
    processes = [ctx.Process(target=_many_rounds, args=(barrier, rounds)) for _ in range(63)]
    for process in processes:
        process.start()
    _many_rounds(barrier, rounds)
    for process in processes:
        process.join(120)
        assert process.exitcode == 0


def test_those_who_wait_use_no_processor(ctx: Any) -> None:
    barrier = ctx.Barrier(4)
    processes, answers = _waiting(ctx, barrier, 3)

    def used() -> float:
        return sum(processor_seconds(process.pid) for process in processes)

    until_asleep(*(process.pid for process in processes))
    before = used()
    time.sleep(1.5)
    assert used() - before <= 0.15  # three who looked all the time would have used seconds
    barrier.abort()
    for process in processes:
        answers.get(timeout=WATCHDOG)
        process.join(WATCHDOG)


def test_ten_thousand_come_and_go_and_many_live() -> None:
    def use(count: int) -> None:
        for _ in range(count):
            tasuki.Barrier(1).wait()

    use(1000)
    gc.collect()
    before, memory = descriptors(), resident()
    use(10_000)
    gc.collect()
    assert descriptors() == before
    assert resident() < memory + (2 << 20)
    barriers = [tasuki.Barrier(2) for _ in range(3000)]
    assert descriptors() < before + 20
    del barriers
