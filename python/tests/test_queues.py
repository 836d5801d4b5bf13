"""Queue: order, bounds, waking, refusals, and what becomes of it when processes die."""

from __future__ import annotations

import array
import collections
import enum
import os
import pickle
import queue
import signal
import threading
import time
from typing import Any

import pytest

from working import Bomb, kill_workers
import tasuki
from deadlines import struck_asleep, until, until_asleep


class Color(enum.IntEnum):
    RED = 1


Point = collections.namedtuple("Point", "x y")

PLAIN = [
    None, True, False, 0, 1, -1, 2**31, 2**63 - 1, -(2**63), 2**63, 2**64 - 1, 0.0, -1.5, 1e308, float("inf"), "", "sash",
    "襷", "\U0001f3bd", "a" * 10_000, b"", b"baton", b"\0" * 10_000,
]  # fmt: skip
PICKLED = [
    2**64, -(2**63) - 1, 2**200, "\ud800", (1, "two"), [1, [2]], {"a": 1}, {1, 2}, Color.RED, Point(1, 2), 1j,
    bytearray(b"x"), array.array("i", [1, 2]), print, Color, ValueError("x").args, range(3), b"y" * 100_000 + b"",
    [b"z" * 200_000, "w" * 100_000],
]  # fmt: skip


# --- what comes out is what went in


@pytest.mark.parametrize("value", PLAIN + PICKLED, ids=lambda value: repr(value)[:20])
def test_a_value_comes_out_as_it_went_in(value: object) -> None:
    q = tasuki.Queue()
    q.put(value)
    got = q.get(timeout=120)
    assert got == value
    assert type(got) is type(value)


def test_nan_and_exceptions_come_through() -> None:
    q = tasuki.Queue()
    q.put(float("nan"))
    assert q.get(timeout=120) != q
    q.put(ValueError("no"))
    error = q.get(timeout=120)
    assert type(error) is ValueError and error.args == ("no",)


@pytest.mark.parametrize("size", [0, 1, 4095, 4096, 4097, 65_536, 1 << 20, 20_000_003])
def test_bytes_of_every_size(size: int) -> None:
    data = os.urandom(min(size, 5000)) * (size // 5000 + 1)
    data = data[:size]
    q = tasuki.Queue()
    q.put(data)
    assert q.get(timeout=120) == data


def test_the_reducers_of_forking_pickler_are_honoured() -> None:
    from multiprocessing.reduction import ForkingPickler

    class Local:
        pass

    ForkingPickler.register(Local, lambda obj: (int, ("7",)))
    q = tasuki.Queue()
    q.put([Local()])
    assert q.get(timeout=120) == [7]
    # Registered again after the first use: what counts is what is registered at the time.
    ForkingPickler.register(Local, lambda obj: (int, ("8",)))
    q.put(Local())
    assert q.get(timeout=120) == 8


def _echo(inward: queue.Queue[object], outward: queue.Queue[object]) -> None:
    while (value := inward.get()) is not None:
        outward.put(value)


def test_values_cross_processes(ctx: tasuki.context.BaseContext) -> None:
    there, back = ctx.Queue(), ctx.Queue()
    process = ctx.Process(target=_echo, args=(there, back))
    process.start()
    for value in PLAIN[1:] + PICKLED[:10]:
        there.put(value)
        assert back.get(timeout=120) == value
    there.put(None)
    process.join(120)
    assert process.exitcode == 0


def _count(q: queue.Queue[tuple[int, int]], who: int, many: int) -> None:
    for number in range(many):
        q.put((who, number))


def test_each_producers_messages_stay_in_order_and_none_is_lost(ctx: tasuki.context.BaseContext) -> None:
    q = ctx.Queue(maxsize=50)
    producers = [ctx.Process(target=_count, args=(q, who, 500)) for who in range(3)]
    for process in producers:
        process.start()
    seen: dict[int, int] = dict.fromkeys(range(3), -1)
    for _ in range(3 * 500):
        who, number = q.get(timeout=120)
        assert number == seen[who] + 1
        seen[who] = number
    for process in producers:
        process.join(120)
    assert q.empty()


def test_a_put_is_done_when_it_returns(ctx: tasuki.context.BaseContext) -> None:
    q = ctx.Queue()
    q.put("first")
    assert not q.empty() and q.qsize() == 1
    assert q.get(False) == "first"
    assert q.empty() and q.qsize() == 0


def test_what_a_process_put_survives_its_end(ctx: tasuki.context.BaseContext) -> None:
    q = ctx.Queue()
    process = ctx.Process(target=_count, args=(q, 0, 20_000))
    process.start()
    process.join(120)  # joined before it is drained: the standard queue deadlocks here
    assert process.exitcode == 0
    assert [q.get(False)[1] for _ in range(20_000)] == list(range(20_000))


# --- bounds and time


def test_a_bounded_queue_is_full_and_an_empty_one_empty() -> None:
    q = tasuki.Queue(2)
    with pytest.raises(queue.Empty):
        q.get_nowait()
    q.put(1)
    assert not q.full()
    q.put_nowait(2)
    assert q.full() and q.qsize() == 2
    with pytest.raises(queue.Full):
        q.put_nowait(3)
    with pytest.raises(queue.Full):
        q.put(3, False)
    assert [q.get(), q.get()] == [1, 2]


@pytest.mark.parametrize("timeout", [0, 0.0, -1, 0.2, True])
def test_timeouts_are_kept(timeout: float) -> None:
    q = tasuki.Queue(1)
    began = time.monotonic()
    with pytest.raises(queue.Empty):
        q.get(timeout=timeout)
    q.put(1)
    with pytest.raises(queue.Full):
        q.put(2, True, timeout)
    assert time.monotonic() - began >= 2 * max(timeout, 0)


@pytest.mark.parametrize("block", [False, 0, None, "", []])
def test_of_the_argument_block_only_the_truth_counts(block: object) -> None:
    q = tasuki.Queue(1)
    with pytest.raises(queue.Empty):
        q.get(block)
    q.put(1, block="yes")
    with pytest.raises(queue.Full):
        q.put(2, block, 60)
    assert q.get("yes") == 1
    lock = tasuki.Lock()
    assert lock.acquire(block) and not lock.acquire(block)


def test_no_bound_means_no_bound() -> None:
    for q in (tasuki.Queue(), tasuki.Queue(0), tasuki.Queue(-1)):
        for number in range(100_000):
            q.put(number)
        assert not q.full() and q.qsize() == 100_000
        assert [q.get() for _ in range(100_000)] == list(range(100_000))


def test_a_waiting_put_and_a_waiting_get_are_woken() -> None:
    q = tasuki.Queue(1)
    q.put(0)
    putter = threading.Thread(target=q.put, args=(1,))
    putter.start()
    until_asleep(putter.native_id)
    assert q.get() == 0
    putter.join(120)
    assert not putter.is_alive() and q.get() == 1
    got: list[object] = []
    getter = threading.Thread(target=lambda: got.append(q.get()))
    getter.start()
    until_asleep(getter.native_id)
    q.put("x")
    getter.join(120)
    assert got == ["x"]


# --- refusals


def test_a_closed_queue_refuses() -> None:
    q = tasuki.Queue()
    with pytest.raises(AssertionError):
        q.join_thread()
    q.close()
    q.close()
    with pytest.raises(ValueError, match="is closed"):
        q.put(1)
    with pytest.raises(ValueError, match="is closed"):
        q.get()
    q.join_thread()
    q.cancel_join_thread()


def test_closing_is_a_matter_of_one_process_only(ctx: tasuki.context.BaseContext) -> None:
    q, back = ctx.Queue(), ctx.Queue()
    process = ctx.Process(target=_echo, args=(q, back))
    process.start()
    q.put(1)
    assert back.get(timeout=120) == 1
    back.close()
    q.put(2)
    q.put(None)
    process.join(120)
    assert process.exitcode == 0


def test_what_cannot_be_pickled_is_the_callers_error_and_harms_nothing() -> None:
    q = tasuki.Queue(1)
    for _ in range(3):
        with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
            q.put(lambda: None)
    assert q.empty()
    q.put(1)
    assert q.get() == 1


def test_a_subclass_with_the_feeder_hook_gets_its_call() -> None:
    class Hooked(tasuki.queues.Queue):
        @staticmethod
        def _on_queue_feeder_error(error: Exception, obj: object) -> None:
            errors.append((error, obj))

    errors: list[tuple[Exception, object]] = []
    q = Hooked(ctx=tasuki.get_context())
    broken = lambda: None  # noqa: E731
    q.put(broken)
    assert len(errors) == 1 and errors[0][1] is broken
    q.put("fine")
    assert q.get() == "fine"


def test_what_cannot_be_unpickled_is_an_error_at_the_reader_and_is_gone() -> None:
    q = tasuki.Queue()
    q.put(Bomb())
    q.put("after")
    with pytest.raises(ZeroDivisionError):
        q.get(timeout=120)
    assert q.get(timeout=120) == "after"


def test_a_queue_of_messagepack() -> None:
    q = tasuki.Queue(codec="msgpack")
    for value in (1, "x", b"y", [1, 2.5, None, True], {"a": [b"z"], "b": {"c": -1}}):
        q.put(value)
        assert q.get(timeout=120) == value
    with pytest.raises(TypeError):
        q.put(object())
    with pytest.raises(ValueError, match="codec"):
        tasuki.Queue(codec="telegraph")


# --- the rest of the surface


def test_subscripts_subclasses_and_isinstance() -> None:
    import multiprocessing.queues

    assert tasuki.queues.Queue[int].__origin__ is tasuki.queues.Queue
    q = tasuki.Queue()
    assert isinstance(q, tasuki.queues.Queue) and isinstance(q, multiprocessing.queues.Queue)


class Labelled(tasuki.queues.Queue):
    """A subclass in the usual form: extra state beside the parent's."""

    def __init__(self, label: str) -> None:
        super().__init__(ctx=tasuki.get_context())
        self.label = label

    def __getstate__(self) -> object:
        return self.label, super().__getstate__()

    def __setstate__(self, state: tuple[str, object]) -> None:
        self.label, parents = state
        super().__setstate__(parents)


def _answer(q: Labelled) -> None:
    q.put(q.label)


def test_a_subclass_with_state_of_its_own_travels(ctx: tasuki.context.BaseContext) -> None:
    q = Labelled("mine")
    process = ctx.Process(target=_answer, args=(q,))
    process.start()
    assert q.get(timeout=120) == "mine"
    process.join(120)


# --- death and signals


def test_killed_producers_and_consumers_do_not_stop_the_others(ctx: tasuki.context.BaseContext) -> None:
    q = ctx.Queue(20)
    kill_workers(ctx, q)
    while not q.empty():
        assert q.get(timeout=120) == b"m" * 100
    q.put(b"last")
    assert q.get(timeout=120) == b"last"


def test_ctrl_c_interrupts_a_get_and_a_put() -> None:
    empty, full = tasuki.Queue(), tasuki.Queue(1)
    full.put(1)
    for wait in (empty.get, lambda: empty.get(timeout=120), lambda: full.put(2), lambda: full.put(2, timeout=120)):
        with pytest.raises(KeyboardInterrupt), struck_asleep(signal.SIGINT):
            wait()
    assert full.get() == 1 and full.empty()


def test_a_handler_that_returns_does_not_end_the_wait() -> None:
    q = tasuki.Queue()
    calls: list[int] = []
    before = signal.signal(signal.SIGALRM, lambda *_: calls.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
        with pytest.raises(queue.Empty):
            q.get(timeout=0.5)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert calls


# --- a process that was stopped inside


def _put_for_ever(q: Any) -> None:
    """Inside most of the time: a batch is written under one lock."""
    batch = [b"x" * 1000] * 200
    while True:
        q.put_many(batch)


def _stop_inside(q: Any, process: Any) -> None:
    """Stops the process in the middle of a put: then nobody can put into a queue that is never full."""
    for _ in range(10_000):
        os.kill(process.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        try:
            q.put(0, timeout=0.02)
        except queue.Full:
            return
        while not q.empty():
            q.get_nowait()
        os.kill(process.pid, signal.SIGCONT)
        # It has to run for a while, else it is stopped at the same place again.
        until(lambda: not q.empty(), "the process does not put")
    raise AssertionError("it was never inside")


@pytest.mark.parametrize("call", ["fileno", "shutdown"])
def test_other_threads_go_on_while_a_call_waits_for_a_stopped_process(call: str) -> None:
    ctx = tasuki.get_context("fork")
    q = ctx.Queue()
    process = ctx.Process(target=_put_for_ever, args=(q,), daemon=True)
    process.start()
    try:
        _stop_inside(q, process)
        while not q.empty():
            q.get_nowait()
        ticks = []

        def continue_it_later() -> None:
            for _ in range(20):
                time.sleep(0.05)
                ticks.append(len(ticks))
            os.kill(process.pid, signal.SIGCONT)

        thread = threading.Thread(target=continue_it_later)
        thread.start()
        getattr(q, call)()  # with the interpreter held, nobody would ever let the process go on
        thread.join(120)
        assert len(ticks) == 20
    finally:
        process.kill()
        process.join(120)
