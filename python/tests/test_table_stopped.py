"""Stopped peers, as a table: every call on an object, while another process is stopped somewhere inside that object.

    call                     what is required while the peer is stopped
    -----------------------  ---------------------------------------------------------------------------------
    with a timeout           returns, and not because the peer went on
    without waiting          other threads of the caller run; it returns now, or when the peer has gone on
    both                     the caller's interpreter is never frozen, nothing raises that has no reason to

Time never decides what a stopped process has done, so a call that needs what it is in the middle of may have to wait for it:
but never with the interpreter's lock, and never beyond its own timeout.

The peer is stopped at random instants. Where the native module is built with its kill points, as `make soak-points` does for this
table alone, it is also made to stop at each of them. `TASUKI_SOAK=1` does it many more times.
"""

from __future__ import annotations

import mmap
import os
import queue
import random
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from deadlines import state, until
import tasuki
from tasuki import _tasuki
from tasuki.connection import wait

SOAK = bool(os.environ.get("TASUKI_SOAK"))
ROUNDS = 60 if SOAK else 3

pytestmark = pytest.mark.timeout(3600 if SOAK else 600)

#: For what must happen: only a hang takes so long.
DEADLINE = 120
#: The timeout of calls.
SHORT = 0.05
#: How long a call that does not wait may keep us from letting the peer go on.
A_WHILE = 0.3

CTX = tasuki.get_context("fork")
LARGE = bytes(150_000)

#: With a timeout; without waiting.
TIMED, AT_ONCE = True, False
Call = tuple[str, bool, Callable[[Any], Any]]


class Kind:
    """An object, what its peer does with it again and again, and the calls."""

    def make(self) -> Any:
        raise NotImplementedError

    def work(self, it: Any, turn: int) -> None:
        """One turn of the peer, which may not wait long."""
        raise NotImplementedError

    def calls(self) -> list[Call]:
        raise NotImplementedError


class Locks(Kind):
    def __init__(self, name: str, *args: Any) -> None:
        self.name, self.args = name, args

    def make(self) -> Any:
        return getattr(CTX, self.name)(*self.args)

    def work(self, it: Any, turn: int) -> None:
        if it.acquire(timeout=0.001):
            it.release()

    def calls(self) -> list[Call]:
        def hold(it: Any) -> None:
            if it.acquire(timeout=SHORT):
                it.release()

        more: list[Call] = []
        if "Semaphore" in self.name:
            more = [("get_value", AT_ONCE, lambda it: it.get_value())]
        return [
            ("acquire", TIMED, lambda it: it.acquire(timeout=SHORT) and it.release()),
            ("acquire without waiting", AT_ONCE, lambda it: it.acquire(False) and it.release()),
            ("release", AT_ONCE, hold),
            ("repr", AT_ONCE, repr),
            *more,
        ]


class Conditions(Kind):
    def make(self) -> Any:
        return CTX.Condition()

    def work(self, it: Any, turn: int) -> None:
        if it.acquire(timeout=0.001):
            try:
                (it.notify, it.notify_all, lambda: it.wait(0.001))[turn % 3]()
            finally:
                it.release()

    def calls(self) -> list[Call]:
        def inside(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def run(it: Any) -> None:
                if it.acquire(timeout=SHORT):
                    try:
                        call(it)
                    finally:
                        it.release()

            return run

        return [
            ("acquire", TIMED, inside(lambda it: None)),
            ("wait", TIMED, inside(lambda it: it.wait(SHORT))),
            ("wait_for", TIMED, inside(lambda it: it.wait_for(lambda: False, SHORT))),
            ("notify", AT_ONCE, inside(lambda it: it.notify())),
            ("notify_all", AT_ONCE, inside(lambda it: it.notify_all())),
        ]


class Events(Kind):
    def make(self) -> Any:
        return CTX.Event()

    def work(self, it: Any, turn: int) -> None:
        (it.set, it.clear, lambda: it.wait(0.001), it.is_set)[turn % 4]()

    def calls(self) -> list[Call]:
        return [
            ("wait", TIMED, lambda it: it.wait(SHORT)),
            ("is_set", AT_ONCE, lambda it: it.is_set()),
            ("set", AT_ONCE, lambda it: it.set()),
            ("clear", AT_ONCE, lambda it: it.clear()),
        ]


class Barriers(Kind):
    def make(self) -> Any:
        return CTX.Barrier(2)

    def work(self, it: Any, turn: int) -> None:
        try:
            it.wait(0.001)
        except threading.BrokenBarrierError:
            it.reset()

    def calls(self) -> list[Call]:
        def meet(it: Any) -> None:
            try:
                it.wait(SHORT)
            except threading.BrokenBarrierError:
                pass

        return [
            ("wait", TIMED, meet),
            ("n_waiting", AT_ONCE, lambda it: it.n_waiting),
            ("broken", AT_ONCE, lambda it: it.broken),
            ("abort", AT_ONCE, lambda it: it.abort()),
            ("reset", AT_ONCE, lambda it: it.reset()),
        ]


class Queues(Kind):
    def __init__(self, name: str, *args: Any, message: Any = 1) -> None:
        self.name, self.args, self.message = name, args, message

    def make(self) -> Any:
        return getattr(CTX, self.name)(*self.args)

    def work(self, it: Any, turn: int) -> None:
        if self.name == "SimpleQueue":
            it.put(self.message)
            if not it.empty() and it._reader.poll(0):
                it.get()
            return
        for one in (lambda: it.put(self.message, timeout=0.001), lambda: it.get(timeout=0.001)):
            try:
                one()
                if self.name == "JoinableQueue":
                    it.task_done()
            except (queue.Empty, queue.Full, ValueError):
                pass
        if turn % 7 == 0:
            it.qsize()

    def calls(self) -> list[Call]:
        def attempt(call: Callable[[Any], Any]) -> Callable[[Any], Any]:
            def run(it: Any) -> None:
                try:
                    call(it)
                except (queue.Empty, queue.Full, ValueError):
                    pass

            return run

        calls: list[Call] = [
            ("_reader.poll", TIMED, lambda it: it._reader.poll(SHORT)),
            ("wait", TIMED, lambda it: wait([it._reader], SHORT)),
            ("empty", AT_ONCE, lambda it: it.empty()),
            ("fileno", AT_ONCE, lambda it: it._reader.fileno()),
        ]
        if self.name != "SimpleQueue":
            calls += [
                ("get", TIMED, attempt(lambda it: it.get(timeout=SHORT))),
                ("put", TIMED, attempt(lambda it: it.put(self.message, timeout=SHORT))),
                ("get_nowait", AT_ONCE, attempt(lambda it: it.get_nowait())),
                ("put_nowait", AT_ONCE, attempt(lambda it: it.put_nowait(self.message))),
                ("qsize", AT_ONCE, lambda it: it.qsize()),
                ("full", AT_ONCE, lambda it: it.full()),
            ]
        if self.name == "JoinableQueue":
            calls += [
                ("task_done", AT_ONCE, attempt(lambda it: it.task_done())),
            ]
        return calls


class Shutdowns(Queues):
    """What ends a queue, so that each of these is done once, on a queue of its own."""

    def work(self, it: Any, turn: int) -> None:
        try:
            super().work(it, turn)
        except tasuki.ShutDown:
            time.sleep(0.001)

    def calls(self) -> list[Call]:
        return [
            ("shutdown", AT_ONCE, lambda it: it.shutdown()),
            ("shutdown at once", AT_ONCE, lambda it: it.shutdown(True)),
            ("close", AT_ONCE, lambda it: it.close()),
            ("join_thread", AT_ONCE, lambda it: it.close() or it.join_thread()),
        ]


class Pipes(Kind):
    """The peer has one end and the caller the other."""

    def __init__(self, message: Any) -> None:
        self.message = message

    def make(self) -> Any:
        return CTX.Pipe()

    def work(self, it: Any, turn: int) -> None:
        there = it[1]
        if turn % 3 == 0 and turn < 300:
            there.send(self.message)
        if there.poll(0.001):
            there.recv()

    def calls(self) -> list[Call]:
        return [
            ("poll", TIMED, lambda it: it[0].poll(SHORT)),
            ("wait", TIMED, lambda it: wait([it[0]], SHORT)),
            ("poll without waiting", AT_ONCE, lambda it: it[0].poll()),
            ("fileno", AT_ONCE, lambda it: it[0].fileno()),
            ("send", AT_ONCE, lambda it: it[0].send(1)),
            # Waits for the rest of a message as long as it takes, as it should.
            ("recv", AT_ONCE, lambda it: it[0].poll() and it[0].recv()),
            ("close", AT_ONCE, lambda it: it[0].close()),
        ]


class Objects(Kind):
    """Making objects, getting them in messages, and dropping them, of all sizes; and forks meanwhile."""

    def make(self) -> Any:
        it = CTX.Queue()
        for _ in range(20):
            it.put(CTX.Lock())
            it.put(CTX.RawArray("b", 9000))
        return it

    def work(self, it: Any, turn: int) -> None:
        # Drops what it made, the last one of it, too.
        _ = (CTX.Event(), CTX.Lock()) if turn % 2 else (CTX.RawArray("b", 9000), CTX.RawArray("b", 9000))
        del _
        if turn in (3, 4):
            it.get(timeout=SHORT)

    def calls(self) -> list[Call]:
        def use(it: Any) -> None:
            # What came in a message does not wait for a stopped one in the arena; the queue itself keeps the time.
            with suppress(queue.Empty):
                it.get(timeout=SHORT)

        def fork(it: Any) -> None:
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0

        return [
            ("make and drop", TIMED, lambda it: [CTX.Lock() for _ in range(3)]),
            ("make and drop pages", TIMED, lambda it: CTX.RawArray("b", 9000)),
            ("get", TIMED, use),
            ("fork", TIMED, fork),
        ]


KINDS: dict[str, Kind] = {
    "Lock": Locks("Lock"),
    "RLock": Locks("RLock"),
    "Semaphore": Locks("Semaphore", 1),
    "BoundedSemaphore": Locks("BoundedSemaphore", 2),
    "Condition": Conditions(),
    "Event": Events(),
    "Barrier": Barriers(),
    "Queue": Queues("Queue"),
    "bounded Queue": Queues("Queue", 2),
    "Queue, large": Queues("Queue", message=LARGE),
    "JoinableQueue": Queues("JoinableQueue"),
    "SimpleQueue": Queues("SimpleQueue"),
    "Queue, its end": Shutdowns("Queue", 2),
    "Pipe": Pipes(1),
    "Pipe, large": Pipes(LARGE),
    "objects": Objects(),
}


# --- three processes: the peer, the caller, and the test, which looks at both from outside


@contextmanager
def _forked(work: Callable[[], None]) -> Iterator[int]:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(3000)  # nobody outlives the test's own watchdog for long
            work()
            code = 0
        except BrokenPipeError:
            code = 0
        except BaseException:
            import traceback

            traceback.print_exc()
        finally:
            os._exit(code)
    assert os.getpid() == parent
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


class Caller:
    """A process that makes one call after the other as it is told, and counts meanwhile in another thread."""

    def __init__(self, it: Any, calls: list[Call]) -> None:
        self.it, self.calls = it, calls
        self.told, self.tell = os.pipe()
        self.heard, self.answer = os.pipe()
        self.ticks = mmap.mmap(-1, mmap.PAGESIZE)

    def run(self) -> None:
        threading.Thread(target=self._tick, daemon=True).start()
        while byte := os.read(self.told, 1):
            self.calls[byte[0]][2](self.it)
            os.write(self.answer, byte)

    def _tick(self) -> None:
        count = 0
        while True:
            count += 1
            self.ticks[:8] = count.to_bytes(8, "little")
            time.sleep(0.002)

    def count(self) -> int:
        return int.from_bytes(self.ticks[:8], "little")

    def begin(self, index: int) -> None:
        os.write(self.tell, bytes([index]))

    def has_returned(self, within: float) -> bool:
        """Whether the call returns in time; its answer is taken then."""
        poll = select.poll()
        poll.register(self.heard, select.POLLIN)
        if not poll.poll(within * 1000):
            return False
        assert os.read(self.heard, 1)
        return True

    def close(self) -> None:
        for descriptor in (self.told, self.tell, self.heard, self.answer):
            os.close(descriptor)
        self.ticks.close()


def _stop(peer: int) -> None:
    os.kill(peer, signal.SIGSTOP)
    until(lambda: state(peer) == "T", "the peer never stopped")


def _comes_to_its_point(peer: int) -> bool:
    """Whether the peer stops; not if it ends, or waits for what only the caller could do."""
    asleep = 0
    while asleep < 100:
        now = state(peer)
        if now in ("T", "Z", None):
            return now == "T"
        asleep = asleep + 1 if now == "S" else 0
        time.sleep(0.005 if asleep > 10 else 0.001)
    return False


def _check(name: str, caller: Caller, peer: int, call: int) -> None:
    """One call while the peer is stopped; it may have gone on when this returns."""
    what, timed, _ = caller.calls[call]
    before = caller.count()
    caller.begin(call)
    if timed:
        assert caller.has_returned(DEADLINE), f"{name}.{what} does not return while a peer is stopped"
        return
    if caller.has_returned(A_WHILE):
        return
    what_happens = f"no other thread runs while {name}.{what} waits for a stopped peer"
    until(lambda: caller.count() > before + 2, what_happens)
    os.kill(peer, signal.SIGCONT)
    assert caller.has_returned(DEADLINE), f"{name}.{what} does not return, though the peer has gone on"


def _peer_of(kind: Kind, it: Any, point: str | None = None) -> Callable[[], None]:
    def work() -> None:
        turn = 0
        if point is not None:
            _tasuki.arm_stop(point, 1)  # type: ignore[attr-defined]
        while point is None or turn < 24:
            kind.work(it, turn)
            turn += 1

    return work


@pytest.mark.parametrize("name", KINDS)
def test_stopped_at_random(name: str) -> None:
    kind = KINDS[name]
    ends = isinstance(kind, (Shutdowns, Pipes))
    calls = kind.calls()
    for _ in range(ROUNDS):
        it = kind.make()
        caller = Caller(it, calls)
        with _forked(caller.run), _forked(_peer_of(kind, it)) as peer:
            order = list(range(len(calls)))
            if not ends:
                random.shuffle(order)
            for call in order:
                time.sleep(random.random() * 0.004)
                _stop(peer)
                _check(name, caller, peer, call)
                os.kill(peer, signal.SIGCONT)
        caller.close()


@pytest.mark.skipif(
    not hasattr(_tasuki, "arm_stop"), reason="the native module is built without its kill points: make soak-points"
)
@pytest.mark.parametrize("name", KINDS)
def test_stopped_at_each_point(name: str) -> None:
    kind = KINDS[name]
    calls = kind.calls()
    points_reached = 0
    for point in _tasuki.kill_points():  # type: ignore[attr-defined]
        for call in range(len(calls)):
            it = kind.make()
            caller = Caller(it, calls)
            with _forked(caller.run), _forked(_peer_of(kind, it, point)) as peer:
                reached = _comes_to_its_point(peer)
                if reached:
                    _check(f"{name} at {point}", caller, peer, call)
            caller.close()
            if not reached:
                break
            points_reached += call == 0
    # Else the peer does not do what it is there for, or the module has lost its points.
    assert points_reached > 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_stopped_process_is_joined_in_time(method: str) -> None:
    process = tasuki.get_context(method).Process(target=time.sleep, args=(1000,))
    process.start()
    assert process.pid is not None
    _stop(process.pid)
    process.join(SHORT)
    assert process.is_alive() and process.exitcode is None
    assert wait([process.sentinel], SHORT) == []
    process.kill()
    process.join(DEADLINE)
    assert process.exitcode == -signal.SIGKILL
    process.close()
