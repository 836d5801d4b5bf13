"""User code inside waits, as a table: what a process waits in, what its signal handler uses there, and when it dies.

    dies           the object it waited in                        the objects that its handler used
    -------------  ---------------------------------------------  ------------------------------------------
    in handler     as if it had been killed waiting: goes on      what it was inside of is told once, as ever
    waiting again  as if it had been killed waiting: goes on      nothing is lost of what was done
    afterwards     as if it had been killed with what it had got  nothing is lost of what was done

Whatever the handler did must not undo what the wait had announced, to the engine or to the kernel: a death after it is
noticed as any other. `TASUKI_SOAK=1` tries every pair, many times, with every start method.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytest

import tasuki
from deadlines import WATCHDOG, until_asleep
from tasuki.connection import wait as wait_for_any

SOAK = bool(os.environ.get("TASUKI_SOAK"))
METHODS = ("fork", "spawn", "forkserver") if SOAK else ("fork",)
ROUNDS = 2 if SOAK else 1

pytestmark = pytest.mark.timeout(3600 if SOAK else 600)

IN_HANDLER, WAITING_AGAIN, AFTERWARDS = DEATHS = ("in handler", "waiting again", "afterwards")

#: How far a victim is.
BEFORE, ENTERING, HANDLED, GOT_IT = range(4)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _passes(enter: Callable[[], Any]) -> bool:
    """Goes in, if need be past the one notice of a death; says whether there was one."""
    told = False
    for _ in range(2):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                enter()
                return told or bool(caught)
            except tasuki.OwnerDied:
                assert not told, "a death is told once"
                told = True
    raise AssertionError("a death is told once")


def _taken(it: Any) -> bool:
    """Takes and gives back a lock or a permit; says whether a death was told."""

    def enter() -> None:
        assert it.acquire(timeout=WATCHDOG), "held by the dead"
        it.release()

    return _passes(enter)


# --- what a victim waits in: made, waited for, made true by the parent, and found afterwards


class Get:
    """A message of an empty queue."""

    def __init__(self, kind: str = "Queue") -> None:
        self.kind = kind

    def make(self, ctx: Any) -> Any:
        return getattr(ctx, self.kind)()

    def block(self, it: Any) -> None:
        assert it.get() == "for the victim"

    def open(self, it: Any) -> None:
        it.put("for the victim")

    def found(self, it: Any, got_it: bool) -> None:
        it.put("for others")
        assert it.get() == "for others"
        assert it.empty()


class Put(Get):
    """Room in a full queue."""

    def make(self, ctx: Any) -> Any:
        it = ctx.Queue(1)
        it.put("first")
        return it

    def block(self, it: Any) -> None:
        it.put("of the victim")

    def open(self, it: Any) -> None:
        assert it.get(timeout=WATCHDOG) == "first"

    def found(self, it: Any, got_it: bool) -> None:
        assert it.get(timeout=WATCHDOG) == ("of the victim" if got_it else "first")
        super().found(it, got_it)


class Join(Get):
    """The tasks of a queue to be done."""

    def make(self, ctx: Any) -> Any:
        it = ctx.JoinableQueue()
        it.put("a task")
        return it

    def block(self, it: Any) -> None:
        it.join()

    def open(self, it: Any) -> None:
        assert it.get(timeout=WATCHDOG) == "a task"
        it.task_done()

    def found(self, it: Any, got_it: bool) -> None:
        if not got_it:
            self.open(it)
        it.join()
        super().found(it, got_it)


class Recv:
    """A message of an empty pipe."""

    def make(self, ctx: Any) -> Any:
        return ctx.Pipe()

    def block(self, it: Any) -> None:
        assert it[0].recv() == "for the victim"

    def open(self, it: Any) -> None:
        it[1].send("for the victim")

    def found(self, it: Any, got_it: bool) -> None:
        it[1].send("for others")
        assert it[0].poll(WATCHDOG)
        assert it[0].recv() == "for others"


class Wait(Recv):
    """The first of several pipes."""

    def block(self, it: Any) -> None:
        assert wait_for_any([it[0]]) == [it[0]]
        super().block(it)


class Send(Recv):
    """Room in a full pipe, for a message that is larger than it."""

    message = b"x" * (4 << 20)

    def block(self, it: Any) -> None:
        it[0].send_bytes(self.message)

    def open(self, it: Any) -> None:
        assert it[1].recv_bytes() == self.message

    def found(self, it: Any, got_it: bool) -> None:
        it[0].send("for others")
        assert it[1].poll(WATCHDOG)
        assert it[1].recv() == "for others"


class Acquire:
    """A lock or a permit that the parent has."""

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def make(self, ctx: Any) -> Any:
        it = getattr(ctx, self.kind)()
        it.__enter__()
        return it

    def block(self, it: Any) -> None:
        it.__enter__()

    def open(self, it: Any) -> None:
        it.__exit__(None, None, None)

    def found(self, it: Any, got_it: bool) -> None:
        if not got_it:
            self.open(it)
        assert _taken(it) == got_it


class Notice:
    """A condition's notification."""

    def make(self, ctx: Any) -> Any:
        return ctx.Condition()

    def block(self, it: Any) -> None:
        with it:
            assert it.wait()
            GOT[0]()

    def open(self, it: Any) -> None:
        with it:
            it.notify()

    def found(self, it: Any, got_it: bool) -> None:
        assert _taken(it) == got_it
        heard, waits = [], threading.Event()

        def listen() -> None:
            with it:
                waits.set()
                heard.append(it.wait(WATCHDOG))

        listener = threading.Thread(target=listen)
        listener.start()
        waits.wait()
        self.open(it)
        listener.join(WATCHDOG)
        assert heard == [True], "the dead had the notification"


class Happen:
    """An event."""

    def make(self, ctx: Any) -> Any:
        return ctx.Event()

    def block(self, it: Any) -> None:
        it.wait()

    def open(self, it: Any) -> None:
        it.set()

    def found(self, it: Any, got_it: bool) -> None:
        it.set()
        assert it.wait(WATCHDOG)


class Meet:
    """The others at a barrier."""

    def make(self, ctx: Any) -> Any:
        return ctx.Barrier(2)

    def block(self, it: Any) -> None:
        it.wait()

    def open(self, it: Any) -> None:
        it.wait(WATCHDOG)

    def found(self, it: Any, got_it: bool) -> None:
        with pytest.raises(threading.BrokenBarrierError):
            while True:
                it.wait()  # nobody else comes, and the dead one is known to be missed
        it.reset()
        other = threading.Thread(target=it.wait)
        other.start()
        it.wait(WATCHDOG)
        other.join(WATCHDOG)


WAITS: dict[str, Any] = {
    "Queue.get": Get(),
    "SimpleQueue.get": Get("SimpleQueue"),
    "Queue.put": Put(),
    "JoinableQueue.join": Join(),
    "recv": Recv(),
    "connection.wait": Wait(),
    "send": Send(),
    "Condition.wait": Notice(),
    "Event.wait": Happen(),
    "Barrier.wait": Meet(),
} | {kind: Acquire(kind) for kind in ("Lock", "RLock", "Semaphore", "BoundedSemaphore")}

#: What a victim does at the moment at which its wait was successful.
GOT: list[Callable[[], None]] = []


# --- what a handler uses: made, used once and if it is to be then died in, and found afterwards


class UseQueue:
    def make(self, ctx: Any) -> Any:
        return ctx.Queue()

    def use(self, it: Any, inside: Callable[[], None]) -> None:
        it.put("one")
        it.put(b"x" * 100_000)
        assert it.get() == "one"
        inside()

    def found(self, it: Any, inside: bool) -> None:
        assert it.get(timeout=WATCHDOG) == b"x" * 100_000
        assert it.empty()


class UsePipe(UseQueue):
    def make(self, ctx: Any) -> Any:
        return ctx.Pipe()

    def use(self, it: Any, inside: Callable[[], None]) -> None:
        it[0].send("one")
        it[0].send("two")
        assert it[1].recv() == "one"
        inside()

    def found(self, it: Any, inside: bool) -> None:
        assert it[1].poll(WATCHDOG)
        assert it[1].recv() == "two"
        assert not it[1].poll()


class UseLock:
    def __init__(self, kind: str) -> None:
        self.kind = kind

    def make(self, ctx: Any) -> Any:
        return getattr(ctx, self.kind)()

    def use(self, it: Any, inside: Callable[[], None]) -> None:
        with it:
            inside()

    def found(self, it: Any, inside: bool) -> None:
        assert _taken(it) == inside


class UseValue(UseLock):
    def __init__(self) -> None:
        super().__init__("Value")

    def make(self, ctx: Any) -> Any:
        return ctx.Value("i", 0)

    def use(self, it: Any, inside: Callable[[], None]) -> None:
        with it:
            it.value += 1
            inside()

    def found(self, it: Any, inside: bool) -> None:
        assert _taken(it.get_lock()) == inside
        assert it.value == 1


class MakeAndDrop:
    """New objects, which come and go while the process waits."""

    def make(self, ctx: Any) -> Any:
        return ctx.get_start_method()

    def use(self, it: Any, inside: Callable[[], None]) -> None:
        ctx = tasuki.get_context(it)
        for kind in ("Lock", "Semaphore", "Condition", "Event", "Queue", "SimpleQueue", "Pipe"):
            getattr(ctx, kind)()
        ctx.Barrier(2), ctx.Value("i", 0), ctx.Array("d", 5)
        inside()

    def found(self, it: Any, inside: bool) -> None:
        pass


USES: dict[str, Any] = {
    "Queue": UseQueue(),
    "Pipe": UsePipe(),
    "Lock": UseLock("Lock"),
    "RLock": UseLock("RLock"),
    "Condition": UseLock("Condition"),
    "Semaphore": UseLock("Semaphore"),
    "Value": UseValue(),
    "new objects": MakeAndDrop(),
}


# --- the victim


def _wait(name: str, it: Any, used: list[tuple[str, Any]], death: str, last: str, how_far: Any) -> None:
    """Waits; the handler uses each object in turn, the one that is called `last` at the end."""

    def handler(*_: object) -> None:
        for kind, other in used:
            here = death == IN_HANDLER and kind == last
            USES[kind].use(other, _die if here else lambda: None)
        how_far.value = HANDLED

    def got_it() -> None:
        how_far.value = GOT_IT
        if death == AFTERWARDS:
            _die()

    GOT[:] = [got_it]
    signal.signal(signal.SIGALRM, handler)
    how_far.value = ENTERING
    WAITS[name].block(it)
    got_it()


def _reaches(how_far: Any, wanted: int, process: Any) -> None:
    deadline = time.monotonic() + WATCHDOG
    while how_far.value < wanted:
        assert process.is_alive() or how_far.value >= wanted, f"the victim ended with {process.exitcode}"
        assert time.monotonic() < deadline, "the victim never got there"
        time.sleep(0.001)


def _try(ctx: Any, name: str, uses: list[str], death: str) -> None:
    wait = WAITS[name]
    it, used = wait.make(ctx), [(kind, USES[kind].make(ctx)) for kind in uses]
    how_far = ctx.RawValue("i", BEFORE)
    process = ctx.Process(target=_wait, args=(name, it, used, death, uses[-1], how_far), daemon=True)
    process.start()
    _reaches(how_far, ENTERING, process)
    until_asleep(process.pid)
    os.kill(process.pid, signal.SIGALRM)
    if death != IN_HANDLER:
        _reaches(how_far, HANDLED, process)
    if death == WAITING_AGAIN:
        until_asleep(process.pid)
        process.kill()
    if death == AFTERWARDS:
        wait.open(it)
    process.join(WATCHDOG)
    assert process.exitcode == -signal.SIGKILL
    wait.found(it, death == AFTERWARDS)
    for kind, other in used:
        USES[kind].found(other, death == IN_HANDLER and kind == uses[-1])


#: What a handler uses: everything in one go, or one object alone.
TRIED: dict[str, list[str]] = {"everything": list(USES)} | ({kind: [kind] for kind in USES} if SOAK else {})


@pytest.mark.parametrize("death", DEATHS)
@pytest.mark.parametrize("uses", TRIED)
@pytest.mark.parametrize("name", WAITS)
@pytest.mark.parametrize("method", METHODS)
def test_a_handler_uses_other_objects_and_its_process_dies(method: str, name: str, uses: str, death: str) -> None:
    rng = random.Random(f"{name} {death}")
    for _ in range(ROUNDS):
        _try(tasuki.get_context(method), name, rng.sample(TRIED[uses], len(TRIED[uses])), death)
