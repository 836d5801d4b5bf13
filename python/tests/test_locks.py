"""Lock and RLock: exclusion, who may release, waking, and the lock of a dead owner."""

from __future__ import annotations

import contextlib
import gc
import multiprocessing.synchronize
import signal
import threading
import time
import weakref
from typing import Any

import pytest

from observing import descriptors
from working import hold
import tasuki
from deadlines import WATCHDOG, struck_asleep, until_asleep, when_asleep


@pytest.fixture(params=["Lock", "RLock"])
def make(request: pytest.FixtureRequest) -> Any:
    return lambda ctx=tasuki: getattr(ctx, request.param)()


# --- exclusion


def _increment(lock: Any, counter: Any, times: int) -> None:
    for _ in range(times):
        with lock:
            counter.value += 1


def test_no_two_processes_are_inside_at_once(ctx: Any, make: Any) -> None:
    lock, counter = make(ctx), ctx.RawValue("i", 0)
    processes = [ctx.Process(target=_increment, args=(lock, counter, 2000)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(WATCHDOG)
    assert counter.value == 6000


def test_no_two_threads_are_inside_at_once(make: Any) -> None:
    lock, counter = make(), tasuki.RawValue("i", 0)
    threads = [threading.Thread(target=_increment, args=(lock, counter, 2000)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WATCHDOG)
    assert counter.value == 6000


def test_acquire_and_release_as_the_standard_says(make: Any) -> None:
    lock = make()
    assert lock.acquire() is True
    assert lock.release() is None
    assert lock.acquire(block=False) is True
    lock.release()
    assert lock.acquire(True, 0.1) is True
    lock.release()
    assert lock.acquire(timeout=None) is True
    lock.release()
    with lock as inside:
        assert inside is True


def test_a_lock_is_not_taken_twice_and_an_rlock_is() -> None:
    lock = tasuki.Lock()
    with lock:
        assert lock.acquire(False) is False
        began = time.monotonic()
        assert lock.acquire(timeout=0.2) is False
        assert time.monotonic() - began >= 0.2
        assert lock.acquire(timeout=-1) is False
    rlock = tasuki.RLock()
    with rlock, rlock, rlock:
        assert rlock._semlock._count() == 3
    assert rlock._semlock._count() == 0


def test_who_may_release() -> None:
    lock, rlock = tasuki.Lock(), tasuki.RLock()
    with pytest.raises(ValueError, match="released too many times"):
        lock.release()
    with pytest.raises(AssertionError, match="not owned"):
        rlock.release()
    lock.acquire()
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join(WATCHDOG)
    assert lock.acquire(False)
    rlock.acquire()
    failures: list[BaseException] = []

    def release() -> None:
        try:
            rlock.release()
        except AssertionError as error:
            failures.append(error)

    thread = threading.Thread(target=release)
    thread.start()
    thread.join(WATCHDOG)
    assert len(failures) == 1
    rlock.release()


def _release(lock: Any) -> None:
    lock.release()


def test_another_process_may_release_a_lock(ctx: Any) -> None:
    lock = ctx.Lock()
    lock.acquire()
    process = ctx.Process(target=_release, args=(lock,))
    process.start()
    assert lock.acquire(timeout=WATCHDOG)
    process.join(WATCHDOG)
    assert process.exitcode == 0


def test_a_waiter_is_woken(make: Any) -> None:
    lock = make()
    lock.acquire()
    woken: list[bool] = []

    def wait() -> None:
        with lock:
            woken.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    until_asleep(thread.native_id)
    assert not woken
    lock.release()
    thread.join(WATCHDOG)
    assert woken == [True]


# --- the standard library's objects are built on it


def test_isinstance_and_repr(make: Any) -> None:
    lock = make()
    assert isinstance(lock, multiprocessing.synchronize.SemLock)
    assert "None" in repr(lock)
    with lock:
        assert "MainProcess" in repr(lock)
        texts: list[str] = []
        thread = threading.Thread(target=lambda: texts.append(repr(lock)))
        thread.start()
        thread.join(WATCHDOG)
        assert "SomeOtherThread" in texts[0]


def _wait_for(condition: Any, flag: Any) -> None:
    with condition:
        condition.wait_for(lambda: flag.value, WATCHDOG)
        flag.value += 1
        condition.notify_all()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_the_standard_condition_runs_on_it(ctx: Any, kind: str) -> None:
    condition, flag = ctx.Condition(getattr(ctx, kind)()), ctx.RawValue("i", 0)
    process = ctx.Process(target=_wait_for, args=(condition, flag))
    process.start()
    with condition:
        flag.value = 1
        condition.notify_all()
        assert condition.wait_for(lambda: flag.value == 2, WATCHDOG)
    process.join(WATCHDOG)


def test_ten_thousand_locks_cost_a_handful_of_descriptors(make: Any) -> None:
    before = descriptors()
    locks = [make() for _ in range(10_000)]
    assert descriptors() - before < 10
    for lock in locks:
        with lock:
            pass


# --- death and signals


def test_the_death_of_the_owner_is_told_once_and_the_lock_goes_on(ctx: Any, make: Any) -> None:
    lock, ready = make(ctx), ctx.Event()
    process = ctx.Process(target=hold, args=(lock, ready), daemon=True)
    process.start()
    assert ready.wait(WATCHDOG)
    assert lock.acquire(False) is False
    pid = process.pid
    process.kill()
    process.join(WATCHDOG)
    with pytest.raises(tasuki.OwnerDied, match=str(pid)) as caught:
        lock.acquire()
    assert caught.value.pid == pid
    assert isinstance(caught.value, RuntimeError)
    for _ in range(3):
        with lock:
            pass


def test_a_waiter_hears_of_the_death(ctx: Any, make: Any) -> None:
    lock, ready = make(ctx), ctx.Event()
    process = ctx.Process(target=hold, args=(lock, ready), daemon=True)
    process.start()
    assert ready.wait(WATCHDOG)
    with pytest.raises(tasuki.OwnerDied), when_asleep(process.kill):
        lock.acquire(timeout=WATCHDOG)
    process.join(WATCHDOG)


def test_ctrl_c_interrupts_an_acquire(make: Any) -> None:
    lock, inside, leave = make(), threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            inside.set()
            leave.wait(WATCHDOG)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait(WATCHDOG)
    for timeout in (None, WATCHDOG):
        with pytest.raises(KeyboardInterrupt), struck_asleep(signal.SIGINT):
            lock.acquire(timeout=timeout)
    leave.set()
    thread.join(WATCHDOG)
    assert lock.acquire(timeout=WATCHDOG)
    lock.release()


def _try(lock: Any, answers: Any) -> None:
    answers.put((lock.acquire(False), "SomeOtherProcess" in repr(lock)))


def test_a_forked_child_does_not_own_what_its_parent_holds(make: Any) -> None:
    ctx = tasuki.get_context("fork")
    lock, answers = make(ctx), ctx.SimpleQueue()
    with lock:
        process = ctx.Process(target=_try, args=(lock, answers))
        process.start()
        assert answers.get() == (False, True)
        process.join(WATCHDOG)


# --- methods that are functions of the interpreter's own kind


def test_arguments_by_place_and_by_name(make: Any) -> None:
    lock = make()
    for args, named in (((True, None), {}), ((), {"timeout": 1}), ((1,), {"timeout": 0.5}), ((), {"block": []})):
        assert lock.acquire(*args, **named) is True
        lock.release()
    for args, named, text in (
        ((True, None, 1), {}, "at most 2 arguments"),
        ((), {"blocking": True}, "unexpected keyword argument 'blocking'"),
        ((True,), {"block": True}, "multiple values for argument 'block'"),
        ((True, "soon"), {}, "must be real number"),
    ):
        with pytest.raises(TypeError, match=text):
            lock.acquire(*args, **named)
    with pytest.raises(TypeError):
        lock.release(1)
    assert not lock.locked()


def test_a_lock_in_an_exit_stack(make: Any) -> None:
    lock = make()
    with contextlib.ExitStack() as stack:
        assert stack.enter_context(lock) is True
        assert lock.locked()
    assert not lock.locked()
    kind = type(lock)
    assert kind.__enter__(lock) is True
    kind.__exit__(lock, None, None, None)
    assert (kind.__enter__.__name__, kind.__exit__.__name__) == ("__enter__", "__exit__")
    assert not lock.locked()


def test_the_method_of_a_lock_refuses_another_object(make: Any) -> None:
    kind = type(make()).__mro__[1]
    for name in ("__enter__", "__exit__"):
        descriptor = vars(kind)[name]
        with pytest.raises(TypeError):
            type(descriptor).__get__(descriptor, object(), object)
        with pytest.raises(TypeError):
            getattr(kind, name)(object())
        with pytest.raises(TypeError):
            type(descriptor)()


def test_the_bound_method_outlives_its_lock_and_keeps_nothing_alive(make: Any) -> None:
    lock = make()
    gone = weakref.ref(lock)
    enter, exit_ = lock.__enter__, lock.__exit__
    with lock:
        pass
    gc.disable()
    try:
        del lock
        assert gone() is None, "no cycle"
    finally:
        gc.enable()
    assert enter() is True
    exit_(None, None, None)


def test_a_lock_that_was_never_made(make: Any) -> None:
    kind = type(make())
    lock = kind.__new__(kind)
    for use in (lock.acquire, lock.release, lock.__enter__, lock.__exit__, lock.locked):
        with pytest.raises(RuntimeError, match="never made"):
            use()


def test_a_subclass_may_have_methods_of_its_own(make: Any) -> None:
    kind = type(make())

    class Counting(kind):  # type: ignore[misc, valid-type]
        entered = 0

        def __enter__(self) -> bool:
            self.entered += 1
            return bool(super().__enter__())

    lock = Counting()
    with lock:
        assert (lock.entered, lock.locked()) == (1, True)
    assert not lock.locked()
