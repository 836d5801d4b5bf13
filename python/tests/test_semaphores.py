"""Semaphore and BoundedSemaphore: so many and no more, permits of the dead come back, and bare ones are anybody's."""

from __future__ import annotations

import contextlib
import multiprocessing.synchronize
import os
import pickle
import signal
import threading
import time
import warnings
from typing import Any

import pytest

from observing import descriptors, processor_seconds, resident
import tasuki
from deadlines import WATCHDOG, struck_asleep, until_asleep, when_asleep


@pytest.fixture(params=["Semaphore", "BoundedSemaphore"])
def make(request: pytest.FixtureRequest) -> Any:
    return lambda value=1, ctx=tasuki, **options: getattr(ctx, request.param)(value, **options)


# --- as the standard says


def test_acquire_and_release(make: Any) -> None:
    semaphore = make(2)
    assert semaphore.get_value() == 2
    assert semaphore.acquire() is True
    assert semaphore.acquire(block=False) is True
    assert semaphore.get_value() == 0 and semaphore.locked() is True
    assert semaphore.acquire(False) is False
    assert semaphore.release() is None
    assert semaphore.get_value() == 1 and semaphore.locked() is False
    assert semaphore.acquire(True, 0.1) is True
    assert semaphore.release(n=2) is None
    assert semaphore.acquire(timeout=None) is True
    with semaphore as inside:
        assert inside is True
        assert semaphore.get_value() == 0
    assert semaphore.get_value() == 1


def test_an_acquire_keeps_its_time(make: Any) -> None:
    semaphore = make(0)
    for timeout in (0, -1, 0.1, 0.7):
        began = time.monotonic()
        assert semaphore.acquire(timeout=timeout) is False
        assert time.monotonic() - began >= timeout
    # Who waited here would wait until the watchdog comes.
    assert semaphore.acquire(False, 10_000) is False
    assert semaphore.acquire(0, None) is False
    with pytest.raises(TypeError):
        semaphore.acquire(timeout="soon")


def test_wrong_numbers(make: Any) -> None:
    with pytest.raises(ValueError, match=">= 0"):
        make(-1)
    with pytest.raises(OverflowError):
        make(2**31)
    with pytest.raises(TypeError):
        make(1.5)
    for wrong in ((1, 2), ("one",)):
        with pytest.raises(TypeError):
            make(1).release(*wrong)
    with pytest.raises(TypeError):
        make(1).release(m=1)
    for n in (0, -1):
        with pytest.raises(ValueError, match="one or more"):
            make(1).release(n)
    with pytest.raises(ValueError, match="on_owner_died"):
        make(1, on_owner_died="shout")


def test_a_release_too_many(make: Any) -> None:
    full = tasuki.Semaphore(2**31 - 1), tasuki.BoundedSemaphore(3), tasuki.BoundedSemaphore(0)
    for semaphore in full:
        before = semaphore.get_value()
        with pytest.raises(ValueError, match="semaphore or lock released too many times"):
            semaphore.release()
        with pytest.raises(ValueError, match="too many times"):
            semaphore.release(2**40)
        assert semaphore.get_value() == before
    bounded = tasuki.BoundedSemaphore(1)
    with pytest.raises(ValueError, match="too many times"), bounded:
        bounded.release()
    assert bounded.get_value() == 1
    with tasuki.Semaphore(1) as _:
        pass
    unbounded = tasuki.Semaphore(1)
    unbounded.release()
    assert unbounded.get_value() == 2


def test_isinstance_repr_and_the_inner_semlock() -> None:
    semaphore, bounded = tasuki.Semaphore(3), tasuki.BoundedSemaphore(2)
    standard = multiprocessing.synchronize
    assert isinstance(semaphore, standard.SemLock) and isinstance(bounded, standard.SemLock)
    assert isinstance(bounded, type(semaphore)) and not isinstance(semaphore, type(bounded))
    assert repr(semaphore) == "<Semaphore(value=3)>"
    assert repr(bounded) == "<BoundedSemaphore(value=2, maxvalue=2)>"
    inner = semaphore._semlock
    assert (inner.kind, inner.maxvalue, bounded._semlock.maxvalue, inner.name) == (1, 2**31 - 1, 2, None)
    assert (inner._count(), inner._is_mine(), inner._is_zero(), inner._get_value()) == (0, False, False, 3)
    semaphore.acquire()
    assert (inner._count(), inner._is_mine(), inner._get_value()) == (1, True, 2)
    others: list[bool] = []
    thread = threading.Thread(target=lambda: others.append(inner._is_mine()))
    thread.start()
    thread.join(WATCHDOG)
    assert others == [False]
    semaphore.release(2)
    assert inner._count() == -1
    assert inner.handle != bounded._semlock.handle


def test_an_exit_stack_releases_what_acquire_took(make: Any) -> None:
    semaphore = make(1)
    with contextlib.ExitStack() as stack:
        assert semaphore.acquire(timeout=WATCHDOG)
        stack.push(semaphore)
        assert semaphore.get_value() == 0
    assert semaphore.get_value() == 1


def test_a_subclass_that_forgets_to_make_it() -> None:
    class Forgetful(type(tasuki.Semaphore())):  # type: ignore[misc]
        def __init__(self) -> None:
            pass

    with pytest.raises(RuntimeError, match="super"):
        Forgetful().acquire()
    assert "unknown" in repr(Forgetful())


# --- so many at a time


def _enter(semaphore: Any, inside: Any, most: Any, times: int) -> None:
    for _ in range(times):
        with semaphore:
            with inside.get_lock():
                inside.value += 1
                most.value = max(most.value, inside.value)
            with inside.get_lock():
                inside.value -= 1


@pytest.mark.parametrize("permits", [1, 3])
def test_never_more_processes_inside_than_permits(ctx: Any, make: Any, permits: int) -> None:
    semaphore, inside, most = make(permits, ctx), ctx.Value("i", 0), ctx.Value("i", 0)
    processes = [ctx.Process(target=_enter, args=(semaphore, inside, most, 300)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert 1 <= most.value <= permits
    assert semaphore.get_value() == permits


def test_never_more_threads_inside_than_permits(make: Any) -> None:
    semaphore, inside, most = make(2), tasuki.Value("i", 0), tasuki.Value("i", 0)
    threads = [threading.Thread(target=_enter, args=(semaphore, inside, most, 500)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert 1 <= most.value <= 2
    assert semaphore.get_value() == 2


def _answer(asked: Any, answered: Any) -> None:
    assert asked.acquire(timeout=WATCHDOG)
    answered.release(3)


def test_it_serves_as_a_signal(ctx: Any) -> None:
    asked, answered = ctx.Semaphore(0), ctx.Semaphore(0)
    process = ctx.Process(target=_answer, args=(asked, answered))
    process.start()
    assert answered.acquire(timeout=0.1) is False
    asked.release()
    for _ in range(3):
        assert answered.acquire(timeout=WATCHDOG)
    process.join(WATCHDOG)
    assert process.exitcode == 0
    assert (asked.get_value(), answered.get_value()) == (0, 0)


def _hand_on(index: int, there: Any, back: Any, rounds: int) -> None:
    for _ in range(rounds):
        if index % 2:
            assert there.acquire(timeout=120)
            back.release()
        else:
            there.release()
            assert back.acquire(timeout=120)


def test_no_wake_up_is_lost_among_64_processes() -> None:
    ctx = tasuki.get_context("fork")
    rounds = 5000 if os.environ.get("TASUKI_SOAK") == "1" else 50
    there, back = ctx.Semaphore(0), ctx.Semaphore(0)
    processes = [ctx.Process(target=_hand_on, args=(index, there, back, rounds), daemon=True) for index in range(64)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    assert (there.get_value(), back.get_value()) == (0, 0)


def _hold(semaphore: Any, ready: Any, permits: int = 1) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(permits):
            stack.enter_context(semaphore)
        ready.set()
        time.sleep(1000)


def _wait(semaphore: Any, ready: Any) -> None:
    ready.release()
    with semaphore:
        pass


def test_those_who_wait_use_no_processor() -> None:
    ctx = tasuki.get_context("fork")
    semaphore, held, ready = ctx.Semaphore(2, on_owner_died="ignore"), ctx.Event(), ctx.Semaphore(0)
    holder = ctx.Process(target=_hold, args=(semaphore, held, 2), daemon=True)
    holder.start()
    assert held.wait(WATCHDOG)
    waiters = [ctx.Process(target=_wait, args=(semaphore, ready), daemon=True) for _ in range(8)]
    for waiter in waiters:
        waiter.start()
    for _ in waiters:
        assert ready.acquire(timeout=WATCHDOG)
    until_asleep(*(waiter.pid for waiter in waiters))
    before = sum(processor_seconds(waiter.pid) for waiter in waiters)
    time.sleep(3)
    assert sum(processor_seconds(waiter.pid) for waiter in waiters) - before < 0.5
    holder.kill()
    holder.join(WATCHDOG)
    for waiter in waiters:
        waiter.join(WATCHDOG)
        assert waiter.exitcode == 0


# --- the dead


def _killed_holder(ctx: Any, semaphore: Any, permits: int = 1) -> Any:
    ready = ctx.Event()
    process = ctx.Process(target=_hold, args=(semaphore, ready, permits), name="Victim", daemon=True)
    process.start()
    assert ready.wait(WATCHDOG)
    process.kill()
    process.join(WATCHDOG)
    return process


def test_a_killed_holders_permit_comes_back_with_a_warning_once(ctx: Any, make: Any) -> None:
    semaphore = make(1, ctx)
    assert semaphore.on_owner_died == "warn"
    process = _killed_holder(ctx, semaphore)
    with pytest.warns(tasuki.OwnerDiedWarning, match=rf"process {process.pid} \(Victim\) died while it held a permit"):
        assert semaphore.acquire(False) is True
    assert semaphore.acquire(False) is False
    semaphore.release()
    with semaphore:
        assert semaphore.get_value() == 0
    assert semaphore.get_value() == 1


def test_raise_keeps_no_permit_and_ignore_says_nothing(ctx: Any, make: Any) -> None:
    semaphore = make(1, ctx, on_owner_died="raise")
    for get in (semaphore.acquire, semaphore.__enter__):
        process = _killed_holder(ctx, semaphore)
        with pytest.raises(tasuki.OwnerDied) as caught:
            get()
        assert (caught.value.pid, caught.value.name) == (process.pid, "Victim")
        assert semaphore.get_value() == 1
        with semaphore:
            pass
    semaphore.on_owner_died = "ignore"
    _killed_holder(ctx, semaphore)
    with semaphore:
        assert semaphore.get_value() == 0


def test_a_warning_that_is_an_error_keeps_no_permit(ctx: Any, make: Any) -> None:
    semaphore = make(1, ctx)
    for get in (semaphore.acquire, semaphore.__enter__):
        _killed_holder(ctx, semaphore)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(tasuki.OwnerDiedWarning):
                get()
        assert semaphore.get_value() == 1


def test_the_value_counts_what_the_dead_had(ctx: Any) -> None:
    semaphore = ctx.Semaphore(5, on_owner_died="ignore")
    _killed_holder(ctx, semaphore, 2)
    _killed_holder(ctx, semaphore, 3)
    assert semaphore.get_value() == 5


def test_a_waiter_hears_of_the_death(ctx: Any, make: Any) -> None:
    semaphore, ready = make(1, ctx, on_owner_died="raise"), ctx.Event()
    process = ctx.Process(target=_hold, args=(semaphore, ready), daemon=True)
    process.start()
    assert ready.wait(WATCHDOG)
    with pytest.raises(tasuki.OwnerDied), when_asleep(process.kill):
        semaphore.acquire(timeout=WATCHDOG)
    process.join(WATCHDOG)


def _acquire_and_sleep(semaphore: Any, ready: Any) -> None:
    semaphore.acquire()
    ready.set()
    time.sleep(1000)


def test_a_bare_permit_of_a_killed_process_stays_taken(ctx: Any, make: Any) -> None:
    semaphore, ready = make(2, ctx), ctx.Event()
    process = ctx.Process(target=_acquire_and_sleep, args=(semaphore, ready), daemon=True)
    process.start()
    assert ready.wait(WATCHDOG)
    process.kill()
    process.join(WATCHDOG)
    assert semaphore.get_value() == 1
    semaphore.release()
    assert semaphore.get_value() == 2


def test_a_killed_waiter_concerns_nobody(ctx: Any, make: Any) -> None:
    semaphore, ready = make(1, ctx), ctx.Semaphore(0)
    with semaphore:
        waiters = [ctx.Process(target=_wait, args=(semaphore, ready), daemon=True) for _ in range(3)]
        for waiter in waiters:
            waiter.start()
        for _ in waiters:
            assert ready.acquire(timeout=WATCHDOG)
        until_asleep(*(waiter.pid for waiter in waiters))
        waiters[0].kill()
        waiters[0].join(WATCHDOG)
    for waiter in waiters[1:]:
        waiter.join(WATCHDOG)
        assert waiter.exitcode == 0
    assert semaphore.get_value() == 1


def _enter_for_ever(semaphore: Any) -> None:
    while True:
        with semaphore:
            pass


def test_kills_at_any_moment_lose_and_double_no_permit(ctx: Any) -> None:
    semaphore = ctx.BoundedSemaphore(2, on_owner_died="ignore")
    rounds = int(os.environ.get("TASUKI_STORM_ROUNDS", "30")) // 10
    for turn in range(rounds):
        processes = [ctx.Process(target=_enter_for_ever, args=(semaphore,), daemon=True) for _ in range(3)]
        for process in processes:
            process.start()
        time.sleep(0.05 + 0.001 * (turn % 7))
        for process in processes:
            process.kill()
            process.join(WATCHDOG)
        assert semaphore.get_value() == 2
        assert [semaphore.acquire(False) for _ in range(3)] == [True, True, False]
        semaphore.release(2)


def _exit_within(semaphore: Any) -> None:
    with semaphore:
        raise SystemExit(0)


def test_a_process_that_exits_within_gives_back(ctx: Any, make: Any) -> None:
    semaphore = make(1, ctx, on_owner_died="raise")
    process = ctx.Process(target=_exit_within, args=(semaphore,))
    process.start()
    process.join(WATCHDOG)
    with semaphore:
        pass
    assert semaphore.get_value() == 1


def _count_and_try(semaphore: Any, answers: Any) -> None:
    answers.put((semaphore._semlock._count(), semaphore._semlock._is_mine(), semaphore.acquire(False)))


def test_a_forked_child_does_not_own_what_its_parent_holds(make: Any) -> None:
    ctx = tasuki.get_context("fork")
    semaphore, answers = make(1, ctx), ctx.SimpleQueue()
    with semaphore:
        process = ctx.Process(target=_count_and_try, args=(semaphore, answers))
        process.start()
        assert answers.get() == (0, False, False)
        process.join(WATCHDOG)
        assert semaphore.get_value() == 0
    assert semaphore.get_value() == 1


# --- travelling


def _release_what_comes(queue: Any) -> None:
    for semaphore in queue.get(timeout=WATCHDOG):
        semaphore.release()


@pytest.mark.parametrize("codec", ["pickle", "msgpack"])
def test_it_travels_through_a_queue(ctx: Any, codec: str) -> None:
    queue, semaphores = ctx.Queue(codec=codec), [ctx.Semaphore(0), ctx.BoundedSemaphore(1)]
    semaphores[1].acquire()
    process = ctx.Process(target=_release_what_comes, args=(queue,))
    process.start()
    queue.put(semaphores)
    assert all(semaphore.acquire(timeout=WATCHDOG) for semaphore in semaphores)
    process.join(WATCHDOG)
    queue.put(semaphores)
    again = queue.get(timeout=WATCHDOG)
    assert [type(semaphore).__name__ for semaphore in again] == ["Semaphore", "BoundedSemaphore"]


def _release_what_comes_by_pipe(end: Any, done: Any) -> None:
    end.recv().release()
    done.wait(WATCHDOG)


def test_it_travels_through_a_pipe(ctx: Any) -> None:
    ours, theirs = ctx.Pipe()
    semaphore, done = ctx.Semaphore(0), ctx.Event()
    process = ctx.Process(target=_release_what_comes_by_pipe, args=(theirs, done))
    process.start()
    ours.send(semaphore)
    assert semaphore.acquire(timeout=WATCHDOG)
    done.set()
    process.join(WATCHDOG)


def test_a_pickle_is_another_handle_to_it(make: Any) -> None:
    semaphore = make(2, on_owner_died="ignore")
    again = pickle.loads(pickle.dumps(semaphore))
    assert type(again) is type(semaphore) and repr(again) == repr(semaphore)
    assert again.on_owner_died == "ignore"
    again.acquire()
    assert semaphore.get_value() == 1


def test_ten_thousand_come_and_go_without_a_trace(make: Any) -> None:
    def come_and_go(times: int) -> None:
        for _ in range(times):
            with make(1):
                pass

    come_and_go(1000)
    kept = [make(1) for _ in range(10_000)]
    assert all(semaphore.get_value() == 1 for semaphore in kept)
    before = descriptors(), resident()
    come_and_go(10_000)
    assert descriptors() <= before[0]
    assert resident() < before[1] + (4 << 20)


# --- signals


@pytest.mark.parametrize("timeout", [None, WATCHDOG])
def test_ctrl_c_interrupts_an_acquire(make: Any, timeout: float | None) -> None:
    semaphore = make(1)
    semaphore.acquire()
    with pytest.raises(KeyboardInterrupt), struck_asleep(signal.SIGINT):
        semaphore.acquire(timeout=timeout)
    semaphore.release()
    assert semaphore.get_value() == 1


def test_a_handler_may_release_what_its_thread_waits_for(make: Any) -> None:
    semaphore = make(1)
    semaphore.acquire()
    previous = signal.signal(signal.SIGUSR1, lambda *_: semaphore.release())
    try:
        with struck_asleep(signal.SIGUSR1):
            assert semaphore.acquire(timeout=WATCHDOG) is True
    finally:
        signal.signal(signal.SIGUSR1, previous)


def _enter_until_told(semaphore: Any, running: Any) -> None:
    while running.value:
        with semaphore:
            pass


def test_a_handler_that_raises_at_any_moment_leaves_no_permit_taken() -> None:
    ctx = tasuki.get_context("fork")
    semaphore, running = ctx.BoundedSemaphore(1), ctx.RawValue("i", 1)
    other = ctx.Process(target=_enter_until_told, args=(semaphore, running), daemon=True)
    other.start()

    class Alarm(Exception):
        pass

    def ring(*_: Any) -> None:
        raise Alarm

    previous = signal.signal(signal.SIGALRM, ring)
    try:
        for turn in range(300):
            with contextlib.suppress(Alarm):
                signal.setitimer(signal.ITIMER_REAL, 0.0003 + 0.00001 * (turn % 50))
                while True:
                    with semaphore:
                        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
        running.value = 0
        other.join(WATCHDOG)
    assert other.exitcode == 0
    assert semaphore.get_value() == 1
