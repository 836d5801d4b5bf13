"""JoinableQueue: join waits for exactly the tasks that were put, and tasks of the killed are told, not waited for."""

from __future__ import annotations

import multiprocessing.queues
import pickle
import queue
import signal
import threading
import time
import warnings
from typing import Any

import pytest

import tasuki
from deadlines import struck_asleep, until_asleep


# --- counting


def test_it_is_a_standard_one() -> None:
    q: Any = tasuki.JoinableQueue(3)
    assert isinstance(q, tasuki.queues.JoinableQueue) and isinstance(q, tasuki.queues.Queue)
    assert isinstance(q, multiprocessing.queues.JoinableQueue)
    q.put_many([1, 2, 3])
    assert q.full() and q.get_many() == [1, 2, 3]
    for _ in range(3):
        q.task_done()
    q.join()


def test_done_too_often_is_a_value_error() -> None:
    q: Any = tasuki.JoinableQueue()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    q.put(1)
    q.task_done()  # before it is taken, as the standard one allows
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    q.join()
    assert q.get() == 1


def test_join_waits_until_all_is_done() -> None:
    q: Any = tasuki.JoinableQueue()
    q.put_many(range(5))
    joined = threading.Event()

    def join() -> None:
        q.join()
        joined.set()

    threads = [threading.Thread(target=join) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        q.get()
        assert not joined.wait(0.05)
        q.task_done()
    for thread in threads:
        thread.join(120)
    assert joined.is_set()
    q.join()


def _work(q: Any, done: Any) -> None:
    while (task := q.get()) is not None:
        with done.get_lock():
            done.value += task
        q.task_done()
    q.task_done()


def test_workers_in_other_processes(ctx: Any) -> None:
    q, done = ctx.JoinableQueue(10), ctx.Value("q")
    workers = [ctx.Process(target=_work, args=(q, done)) for _ in range(3)]
    for process in workers:
        process.start()
    for number in range(1000):
        q.put(number)
    q.join()
    assert done.value == sum(range(1000))
    for _ in workers:
        q.put(None)
    q.join()
    for process in workers:
        process.join(120)
        assert process.exitcode == 0


def test_an_object_that_cannot_be_put_is_no_task() -> None:
    q: Any = tasuki.JoinableQueue(1)
    with pytest.raises((AttributeError, pickle.PicklingError)):
        q.put(lambda: None)
    q.join()
    q.put(1)
    with pytest.raises(queue.Full):
        q.put_nowait(2)
    q.get()
    q.task_done()
    q.join()


def test_an_immediate_shutdown_ends_a_join() -> None:
    q: Any = tasuki.JoinableQueue()
    q.put_many(range(3))
    q.get()
    thread = threading.Thread(target=q.join)
    thread.start()
    q.shutdown(immediate=True)
    assert thread.is_alive()
    q.task_done()
    thread.join(120)
    assert not thread.is_alive()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()


def test_ctrl_c_interrupts_a_join() -> None:
    q: Any = tasuki.JoinableQueue()
    q.put(1)
    with pytest.raises(KeyboardInterrupt), struck_asleep(signal.SIGINT):
        q.join()


def test_it_travels_with_its_policy(ctx: Any) -> None:
    q, back = ctx.JoinableQueue(on_owner_died="warn"), ctx.Queue()
    back.put(q)
    same = back.get(timeout=120)
    assert type(same) is tasuki.queues.JoinableQueue and same.on_owner_died == "warn"
    same.put(1)
    assert q.get() == 1
    same.task_done()
    q.join()
    packed: Any = tasuki.Queue(codec="msgpack")
    packed.put([q])
    assert type(packed.get()[0]) is tasuki.queues.JoinableQueue
    with pytest.raises(ValueError, match="on_owner_died"):
        ctx.JoinableQueue(on_owner_died="weep")


# --- death


def _take(q: Any, many: int, done: int, taken: Any) -> None:
    for _ in range(many):
        q.get()
    for _ in range(done):
        q.task_done()
    taken.set()
    time.sleep(1000)


def _killed_with(ctx: Any, q: Any, many: int, done: int) -> int:
    """Runs a consumer that is killed when it has taken and done so many tasks; its pid."""
    taken = ctx.Event()
    victim = ctx.Process(target=_take, args=(q, many, done, taken), daemon=True, name="Victim")
    victim.start()
    assert taken.wait(120)
    victim.kill()
    victim.join(120)
    return int(victim.pid)


def test_tasks_of_a_killed_consumer_are_told_once(ctx: Any) -> None:
    q = ctx.JoinableQueue()
    q.put_many(range(7))
    pid = _killed_with(ctx, q, 5, 2)
    for _ in range(2):
        q.get()
        q.task_done()
    with pytest.raises(tasuki.OwnerDied, match="3 unfinished tasks") as caught:
        q.join()
    assert caught.value.pid == pid and caught.value.name == "Victim" and not caught.value.left_normally
    q.join()  # told once; nothing is left
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()


def test_the_others_are_still_waited_for(ctx: Any) -> None:
    q = ctx.JoinableQueue()
    q.put_many(range(3))
    _killed_with(ctx, q, 1, 0)
    with pytest.raises(tasuki.OwnerDied, match="1 unfinished task$"):
        q.join()
    thread = threading.Thread(target=q.join)
    thread.start()
    q.get(), q.get()
    q.task_done()
    thread.join(0.2)
    assert thread.is_alive()
    q.task_done()
    thread.join(120)
    assert not thread.is_alive()


@pytest.mark.parametrize("policy", ["warn", "ignore"])
def test_the_policy_says_how_it_is_told(ctx: Any, policy: str) -> None:
    q = ctx.JoinableQueue(on_owner_died=policy)
    q.put_many(range(4))
    pid = _killed_with(ctx, q, 4, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        q.join()
    told = [w.message.pid for w in caught if isinstance(w.message, tasuki.OwnerDiedWarning)]
    assert told == ([pid] if policy == "warn" else [])


def test_who_waits_is_told_too(ctx: Any) -> None:
    q = ctx.JoinableQueue()
    q.put(1)
    taken = ctx.Event()
    victim = ctx.Process(target=_take, args=(q, 1, 0, taken), daemon=True)
    victim.start()
    assert taken.wait(120)
    raised: list[BaseException] = []

    def join() -> None:
        try:
            q.join()
        except tasuki.OwnerDied as error:
            raised.append(error)

    thread = threading.Thread(target=join)
    thread.start()
    until_asleep(thread.native_id)
    victim.kill()
    thread.join(120)
    assert raised and raised[0].pid == victim.pid  # type: ignore[attr-defined]
    victim.join(120)


def test_who_ends_by_itself_with_tasks_done_leaves_nothing(ctx: Any) -> None:
    q, done = ctx.JoinableQueue(), ctx.Value("q")
    worker = ctx.Process(target=_work, args=(q, done))
    worker.start()
    q.put_many([1, 2, None])
    worker.join(120)
    q.join()
    assert done.value == 3
