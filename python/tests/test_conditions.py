"""Condition: as many go on as are notified, the lock is held after every wait, and the dead absorb nothing."""

from __future__ import annotations

import gc
import multiprocessing.synchronize
import os
import pickle
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from observing import descriptors, processor_seconds, resident
import tasuki
from deadlines import WATCHDOG, struck_asleep, until, until_asleep

LOCKS = ("own", "Lock", "RLock", "value", "standard", "thread")


def _lock(kind: str, ctx: Any) -> Any:
    if kind == "own":
        return None
    if kind == "value":
        return ctx.Value("i", 0).get_lock()
    if kind == "standard":
        # As it was before anything was installed over it.
        return tasuki.context._standard_contexts[ctx.get_start_method()].Lock()
    return threading.RLock() if kind == "thread" else getattr(ctx, kind)()


@pytest.fixture(params=LOCKS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


# --- one process


def test_it_is_the_standard_class() -> None:
    condition = tasuki.Condition()
    assert isinstance(condition, multiprocessing.synchronize.Condition)
    assert tasuki.ENGINE["Condition"] == "tasuki.synchronize.Condition"
    assert repr(condition) == "<Condition(<RLock(None, 0)>, 0)>"
    lock = tasuki.Lock()
    assert tasuki.Condition(lock)._lock is lock


@pytest.mark.parametrize("kind", LOCKS[:-1])  # a thread's recursive lock cannot tell before Python 3.14
def test_it_tells_whether_its_lock_is_held(kind: str) -> None:
    condition = tasuki.Condition(_lock(kind, tasuki.get_context("fork")))
    assert condition.locked() is False
    with condition:
        assert condition.locked() is True
    assert condition.locked() is False


def test_threads_go_on_as_they_are_notified(kind: str) -> None:
    condition, woken = tasuki.Condition(_lock(kind, tasuki)), []

    def wait(number: int) -> None:
        with condition:
            assert condition.wait() is True
            woken.append(number)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        until(lambda: condition._waiting == number + 1)
    total = 0
    for n in (1, 0, 2):
        with condition:
            condition.notify(n)
        total += n
        until(lambda: len(woken) == total)
        time.sleep(0.05)
        assert sorted(woken) == list(range(total))
    with condition:
        condition.notify_all()
    for thread in threads:
        thread.join(WATCHDOG)
    assert len(woken) == 5 and condition._waiting == 0


def test_without_the_lock_it_is_an_error(kind: str) -> None:
    condition = tasuki.Condition(_lock(kind, tasuki))
    for call, text in (
        (condition.wait, "must acquire"),
        (condition.notify, "not owned"),
        (condition.notify_all, "not owned"),
    ):
        with pytest.raises(AssertionError, match=text):
            call()
    if kind != "thread":
        with condition:
            errors: list[BaseException] = []

            def notify() -> None:
                try:
                    condition.notify()
                except AssertionError as error:
                    errors.append(error)

            thread = threading.Thread(target=notify)
            thread.start()
            thread.join(WATCHDOG)
            assert len(errors) == 1


@pytest.mark.parametrize("timeout", [0, -1, 0.05, 0.7])
def test_timeouts(kind: str, timeout: float) -> None:
    condition = tasuki.Condition(_lock(kind, tasuki))
    with condition:
        began = time.monotonic()
        assert condition.wait(timeout) is False
        assert time.monotonic() - began >= timeout
        assert condition.wait_for(lambda: 0, timeout) == 0
        condition.notify()  # the lock is held
    assert condition.acquire()
    condition.release()


def test_wait_for_returns_what_the_predicate_said_last() -> None:
    condition = tasuki.Condition()
    with condition:
        assert condition.wait_for(lambda: "yes") == "yes"
        answers = iter(["", "", "", "then"])
        stop = threading.Event()

        def notify() -> None:
            while not stop.is_set():
                with condition:
                    condition.notify()
                time.sleep(0.005)

        thread = threading.Thread(target=notify)
        thread.start()
        assert condition.wait_for(lambda: next(answers), WATCHDOG) == "then"
        stop.set()
    thread.join(WATCHDOG)


def test_a_recursive_lock_is_given_up_as_often_as_it_was_taken() -> None:
    for lock in (None, tasuki.RLock()):
        condition = tasuki.Condition(lock)

        def notify(condition: Any = condition) -> None:
            with condition:
                condition.notify()

        with condition, condition, condition:
            thread = threading.Thread(target=notify)
            thread.start()
            assert condition.wait(WATCHDOG)
            assert condition._lock._semlock._count() == 3
        thread.join(WATCHDOG)
        assert condition._lock._semlock._count() == 0


class _Rang(Exception):
    pass


@pytest.fixture
def alarm() -> Iterator[None]:
    def handler(*_: Any) -> None:
        raise _Rang

    before = signal.signal(signal.SIGALRM, handler)
    yield
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("alarm")
def test_a_signal_handler_that_raises_finds_the_lock_held_and_leaves_it_free(kind: str) -> None:
    condition = tasuki.Condition(_lock(kind, tasuki))
    for timeout in (None, WATCHDOG):
        with pytest.raises(_Rang), condition:
            try:
                with struck_asleep(signal.SIGALRM):
                    condition.wait(timeout)
            finally:
                condition.notify()  # asserts that the lock is held
        assert condition.acquire()
        condition.release()
        assert condition._waiting == 0


@pytest.mark.usefixtures("alarm")
def test_a_handler_that_raises_while_another_has_the_lock() -> None:
    condition, inside, leave = tasuki.Condition(), threading.Event(), threading.Event()

    def hold() -> None:
        with condition:
            inside.set()
            leave.wait(WATCHDOG)

    def strike() -> None:
        assert inside.wait(WATCHDOG)
        until_asleep(waiter_id)  # for the notification
        signal.pthread_kill(waiter, signal.SIGALRM)
        until(raised.is_set)
        until_asleep(waiter_id)  # for the lock
        leave.set()

    def handler(*_: Any) -> None:
        raised.set()
        raise _Rang

    signal.signal(signal.SIGALRM, handler)
    raised, waiter, waiter_id = threading.Event(), threading.get_ident(), threading.get_native_id()
    threads = [threading.Thread(target=hold), threading.Thread(target=strike)]
    with pytest.raises(_Rang), condition:
        for thread in threads:
            thread.start()
        try:
            condition.wait()
        finally:
            assert inside.is_set() and leave.is_set()  # it came back only when the lock was free
            condition.notify()
    for thread in threads:
        thread.join(WATCHDOG)
    assert condition.acquire(timeout=WATCHDOG)
    condition.release()


# --- several processes


def _wait(condition: Any, answers: Any, timeout: float | None = None) -> None:
    with condition:
        answers.put((os.getpid(), condition.wait(timeout)))


def _waiting(ctx: Any, condition: Any, count: int) -> tuple[list[Any], Any]:
    answers = ctx.Queue()
    processes = []
    for number in range(count):
        processes.append(ctx.Process(target=_wait, args=(condition, answers), daemon=True))
        processes[-1].start()
        until(lambda: condition._waiting == number + 1)
    return processes, answers


@pytest.mark.parametrize("lock", ["own", "Lock", "RLock", "value", "standard"])
def test_a_notification_for_one_whose_handler_raises_is_passed_on(lock: str) -> None:
    ctx = tasuki.get_context("fork")
    condition = ctx.Condition(_lock(lock, ctx))

    def notify_and_raise(*_: Any) -> None:
        until(lambda: condition._waiting == 2)
        with condition:
            condition.notify()
        raise _Rang

    def strike() -> None:
        until(lambda: condition._waiting == 1)
        # The second one, which came later: the notification is for the one with the handler.
        process.start()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM)

    before = signal.signal(signal.SIGALRM, notify_and_raise)
    answers = ctx.Queue()
    process = ctx.Process(target=_wait, args=(condition, answers, WATCHDOG), daemon=True)
    thread = threading.Thread(target=strike)
    try:
        with pytest.raises(_Rang), condition:
            thread.start()
            condition.wait(WATCHDOG)
    finally:
        signal.signal(signal.SIGALRM, before)
    thread.join(WATCHDOG)
    assert answers.get(timeout=WATCHDOG) == (process.pid, True)
    process.join(WATCHDOG)
    assert condition._waiting == 0 and condition.acquire(timeout=WATCHDOG)
    condition.release()


@pytest.mark.parametrize("lock", ["own", "Lock", "RLock", "value", "standard"])
def test_processes_go_on_in_the_order_in_which_they_came(ctx: Any, lock: str) -> None:
    condition = ctx.Condition(_lock(lock, ctx))
    processes, answers = _waiting(ctx, condition, 3)
    for process in processes:
        with condition:
            condition.notify()
        assert answers.get(timeout=WATCHDOG) == (process.pid, True)
        process.join(WATCHDOG)
        assert process.exitcode == 0


def test_a_killed_waiter_absorbs_no_notification(ctx: Any) -> None:
    condition = ctx.Condition()
    processes, answers = _waiting(ctx, condition, 4)
    for victim in processes[:2]:  # the oldest
        victim.kill()
        victim.join(WATCHDOG)
    with condition:
        condition.notify()
    assert answers.get(timeout=WATCHDOG) == (processes[2].pid, True)
    with condition:
        condition.notify_all()
    assert answers.get(timeout=WATCHDOG) == (processes[3].pid, True)
    for process in processes:
        process.join(WATCHDOG)
    assert condition._waiting == 0


def test_a_notification_for_one_who_is_killed_before_it_goes_on_is_passed_on(ctx: Any) -> None:
    condition = ctx.Condition()
    processes, answers = _waiting(ctx, condition, 2)
    with condition:
        condition.notify()
        until_asleep(processes[0].pid)  # for the lock, which it wants and which is held here
        processes[0].kill()
        processes[0].join(WATCHDOG)
    assert answers.get(timeout=WATCHDOG) == (processes[1].pid, True)
    processes[1].join(WATCHDOG)


def _wait_and_tell(condition: Any, ready: Any, answers: Any) -> None:
    with condition:
        ready.put(None)
        try:
            answers.put(condition.wait())
        except tasuki.OwnerDied as error:
            condition.notify()  # asserts that the lock is held
            answers.put(error.pid)


def _hold(condition: Any, ready: Any) -> None:
    condition.acquire()
    ready.put(None)
    time.sleep(1000)


@pytest.mark.parametrize("lock", ["own", "Lock", "RLock", "value"])
def test_who_waits_is_told_when_the_one_with_the_lock_is_killed(ctx: Any, lock: str) -> None:
    condition, ready, answers = ctx.Condition(_lock(lock, ctx)), ctx.Queue(), ctx.Queue()
    waiting = ctx.Process(target=_wait_and_tell, args=(condition, ready, answers), daemon=True)
    waiting.start()
    ready.get(timeout=WATCHDOG)
    owner = ctx.Process(target=_hold, args=(condition, ready), daemon=True)
    owner.start()
    ready.get(timeout=WATCHDOG)
    owner.kill()
    owner.join(WATCHDOG)
    assert answers.get(timeout=WATCHDOG) == owner.pid
    waiting.join(WATCHDOG)
    assert waiting.exitcode == 0
    with condition:
        condition.notify()


def test_the_policy_of_the_lock_counts_and_travels(ctx: Any) -> None:
    condition, ready, answers = ctx.Condition(), ctx.Queue(), ctx.Queue()
    condition._lock.on_owner_died = "ignore"
    waiting = ctx.Process(target=_wait_and_tell, args=(condition, ready, answers), daemon=True)
    waiting.start()
    ready.get(timeout=WATCHDOG)
    owner = ctx.Process(target=_hold, args=(condition, ready), daemon=True)
    owner.start()
    ready.get(timeout=WATCHDOG)
    owner.kill()
    owner.join(WATCHDOG)
    assert answers.get(timeout=WATCHDOG) is True
    waiting.join(WATCHDOG)


def _answer(channel: Any) -> None:
    condition, value = channel.get() if hasattr(channel, "get") else channel.recv()
    with condition:
        value.value = 1
        condition.notify_all()
        condition.wait_for(lambda: value.value == 2, WATCHDOG)


@pytest.mark.parametrize("way", ["pickle", "msgpack", "pipe", "SimpleQueue"])
@pytest.mark.parametrize("lock", ["own", "Lock", "value"])
def test_it_travels_with_its_lock(ctx: Any, way: str, lock: str) -> None:
    condition, value = ctx.Condition(_lock(lock, ctx)), ctx.Value("i", 0)
    if way == "pipe":
        theirs, ours = ctx.Pipe()
        send = ours.send
    else:
        theirs = ctx.SimpleQueue() if way == "SimpleQueue" else ctx.Queue(codec=way)
        send = theirs.put
    if way == "msgpack" and lock != "own":
        with pytest.raises(TypeError, match="lock of another object"):
            send((condition, value))
        return
    process = ctx.Process(target=_answer, args=(theirs,))
    process.start()
    with condition:
        send((condition, value))
        assert condition.wait_for(lambda: value.value == 1, WATCHDOG)
        value.value = 2
        condition.notify()
    process.join(WATCHDOG)
    assert process.exitcode == 0


def test_its_lock_travels_alone() -> None:
    condition = tasuki.Condition()
    again = pickle.loads(pickle.dumps(condition._lock))
    with condition:
        free: list[bool] = []
        thread = threading.Thread(target=lambda: free.append(again.acquire(False)))
        thread.start()
        thread.join(WATCHDOG)
        assert free == [False]


def _consume(condition: Any, stock: Any) -> None:
    while True:
        with condition:
            while not stock.value:
                condition.wait()
            if stock.value < 0:
                return
            stock.value -= 1


def test_no_notification_is_lost_among_sixty_four() -> None:
    ctx = tasuki.get_context("fork")
    pieces = 100 * int(os.environ.get("TASUKI_STORM_ROUNDS", "20"))
    condition, stock = ctx.Condition(), ctx.RawValue("q", 0)
    consumers = [ctx.Process(target=_consume, args=(condition, stock)) for _ in range(63)]
    for consumer in consumers:
        consumer.start()
    for _ in range(pieces):
        with condition:
            stock.value += 1
            condition.notify()
    until(lambda: stock.value == 0)
    with condition:
        stock.value = -1
        condition.notify_all()
    for consumer in consumers:
        consumer.join(120)
        assert consumer.exitcode == 0


def test_those_who_wait_use_no_processor(ctx: Any) -> None:
    condition = ctx.Condition()
    processes, answers = _waiting(ctx, condition, 3)

    def used() -> float:
        return sum(processor_seconds(process.pid) for process in processes)

    until_asleep(*(process.pid for process in processes))
    before = used()
    time.sleep(1.5)
    assert used() - before <= 0.15  # three who looked all the time would have used seconds
    with condition:
        condition.notify_all()
    for process in processes:
        assert answers.get(timeout=WATCHDOG)[1]
        process.join(WATCHDOG)


def test_ten_thousand_come_and_go_and_many_live() -> None:
    def use(count: int) -> None:
        for _ in range(count):
            condition = tasuki.Condition()
            with condition:
                condition.wait(0)

    use(1000)
    gc.collect()
    before, memory = descriptors(), resident()
    use(10_000)
    gc.collect()
    assert descriptors() == before
    assert resident() < memory + (2 << 20)
    conditions = [tasuki.Condition() for _ in range(3000)]
    assert descriptors() < before + 100
    del conditions
