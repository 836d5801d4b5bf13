"""Signal handlers in waits, as a table: what waits, how the handler makes it true before it raises, and what is found then.

    waits                            the handler             afterwards
    -------------------------------  ----------------------  -------------------------------------------------
    for a lock or a permit           gives it                it is free: the interrupted call took nothing
    for a notification, an event     notifies, sets          nobody waits, the lock is free; the event is set
    at a barrier                     lets the other come     the round is over, the next one works
    for a message, or whether one    sends it                it is there, once, and nothing else is
      is there
    for room                         makes room              the message was not sent, and others can be
    for tasks, a process, a result   ends them               they are found ended
    for a connection                 connects                the connection is there for the next call

`TASUKI_SOAK=1` strikes at random moments too, many times, with every start method.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from deadlines import until, until_asleep
import tasuki
from tasuki.connection import Client, Listener
from tasuki.connection import wait as wait_for_any

SOAK = bool(os.environ.get("TASUKI_SOAK"))
METHODS = ("fork", "spawn", "forkserver") if SOAK else ("fork",)
ROUNDS = 100 if SOAK else 2

pytestmark = pytest.mark.timeout(3600 if SOAK else 600)

#: For what must happen: only a hang takes so long.
DEADLINE = 120


class Struck(Exception):
    """What the handler raises."""


def _in_thread(work: Callable[[], Any]) -> None:
    """Runs it to its end in a thread of its own, for which this one's locks are another's."""
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(DEADLINE)
    assert results, "it hangs, or failed"


class Row:
    """One line of the table. `block` waits, `open` makes what it waits for true, `found` looks at it afterwards."""

    def __init__(self, ctx: Any) -> None:
        self.ctx = ctx

    def block(self) -> None:
        raise NotImplementedError

    def open(self) -> None:
        raise NotImplementedError

    def found(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


class LockAcquire(Row):
    def __init__(self, ctx: Any) -> None:
        self.it = ctx.Lock()
        self.it.acquire()

    def block(self) -> None:
        self.it.acquire()

    def open(self) -> None:
        self.it.release()

    def found(self) -> None:
        assert self.it.acquire(timeout=DEADLINE)
        assert not self.it.acquire(False)
        self.it.release()


class LockAcquireInTime(LockAcquire):
    def block(self) -> None:
        self.it.acquire(True, DEADLINE)


class LockWith(LockAcquire):
    def block(self) -> None:
        with self.it:
            pass


class RLockAcquire(Row):
    def __init__(self, ctx: Any) -> None:
        self.it = ctx.RLock()
        self.go = threading.Event()
        held = threading.Event()

        def hold() -> None:
            with self.it:
                held.set()
                self.go.wait(DEADLINE)

        self.holder = threading.Thread(target=hold, daemon=True)
        self.holder.start()
        assert held.wait(DEADLINE)

    def block(self) -> None:
        self.it.acquire()

    def open(self) -> None:
        self.go.set()
        self.holder.join(DEADLINE)

    def found(self) -> None:
        def take() -> bool:
            assert self.it.acquire(timeout=DEADLINE), "this thread holds it"
            self.it.release()
            return True

        _in_thread(take)


class SemaphoreAcquire(Row):
    kind = "Semaphore"

    def __init__(self, ctx: Any) -> None:
        self.it = getattr(ctx, self.kind)(1)
        self.it.acquire()

    def block(self) -> None:
        self.it.acquire()

    def open(self) -> None:
        self.it.release()

    def found(self) -> None:
        assert self.it.get_value() == 1
        assert self.it.acquire(timeout=DEADLINE)
        assert not self.it.acquire(False)
        self.it.release()


class SemaphoreWith(SemaphoreAcquire):
    def block(self) -> None:
        with self.it:
            pass


class BoundedSemaphoreAcquire(SemaphoreAcquire):
    kind = "BoundedSemaphore"

    def found(self) -> None:
        super().found()
        with pytest.raises(ValueError):
            self.it.release()


class ConditionWait(Row):
    def __init__(self, ctx: Any) -> None:
        self.it = ctx.Condition()

    def block(self) -> None:
        with self.it:
            self.it.wait()

    def open(self) -> None:
        with self.it:
            self.it.notify()

    def found(self) -> None:
        assert self.it._waiting == 0

        def take() -> bool:
            assert self.it.acquire(timeout=DEADLINE), "this thread holds the lock"
            self.it.release()
            return True

        _in_thread(take)


class ConditionWaitFor(ConditionWait):
    def block(self) -> None:
        with self.it:
            self.it.wait_for(lambda: False, DEADLINE)


class EventWait(Row):
    def __init__(self, ctx: Any) -> None:
        self.it = ctx.Event()

    def block(self) -> None:
        self.it.wait()

    def open(self) -> None:
        self.it.set()

    def found(self) -> None:
        assert self.it.is_set() and self.it.wait(0)


class BarrierWait(Row):
    def __init__(self, ctx: Any) -> None:
        self.it = ctx.Barrier(2)

    def block(self) -> None:
        self.it.wait()

    def open(self) -> None:
        # If the signal comes before the wait, one of these two takes this thread's place.
        self.others = [threading.Thread(target=self.it.wait, daemon=True) for _ in range(2 - self.it.n_waiting)]
        for other in self.others:
            other.start()
        for other in self.others:
            other.join(DEADLINE)

    def found(self) -> None:
        assert not any(other.is_alive() for other in self.others)
        assert not self.it.broken and self.it.n_waiting == 0
        self.open()
        assert not self.it.broken and self.it.n_waiting == 0


class QueueGet(Row):
    kind = "Queue"

    def __init__(self, ctx: Any) -> None:
        self.it = getattr(ctx, self.kind)()

    def block(self) -> None:
        self.it.get()

    def open(self) -> None:
        self.it.put("sent")

    def found(self) -> None:
        assert self.it.get() == "sent"
        assert self.it.empty()

    def close(self) -> None:
        self.it.close()


class QueueGetInTime(QueueGet):
    def block(self) -> None:
        self.it.get(timeout=DEADLINE)


class SimpleQueueGet(QueueGet):
    kind = "SimpleQueue"


class JoinableQueueGet(QueueGet):
    kind = "JoinableQueue"

    def found(self) -> None:
        super().found()
        self.it.task_done()
        self.it.join()


class JoinableQueueJoin(QueueGet):
    kind = "JoinableQueue"

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.it.put("a task")

    def block(self) -> None:
        self.it.join()

    def open(self) -> None:
        assert self.it.get(timeout=DEADLINE) == "a task"
        self.it.task_done()

    def found(self) -> None:
        self.it.join()
        assert self.it.empty()


class QueuePut(QueueGet):
    def __init__(self, ctx: Any) -> None:
        self.it = ctx.Queue(1)
        self.it.put("first")

    def block(self) -> None:
        self.it.put("not put")

    def open(self) -> None:
        assert self.it.get(timeout=DEADLINE) == "first"

    def found(self) -> None:
        self.it.put("sent", timeout=DEADLINE)
        super().found()


class PipeRecv(Row):
    duplex = True

    def __init__(self, ctx: Any) -> None:
        self.reader, self.writer = ctx.Pipe(self.duplex)

    def block(self) -> None:
        self.reader.recv()

    def open(self) -> None:
        self.writer.send(b"sent")

    def found(self) -> None:
        assert self.reader.poll(DEADLINE) and self.reader.recv() == b"sent"
        assert not self.reader.poll()

    def close(self) -> None:
        self.reader.close()
        self.writer.close()


class PipeRecvBytes(PipeRecv):
    duplex = False

    def block(self) -> None:
        self.reader.recv_bytes()


class PipePoll(PipeRecv):
    def block(self) -> None:
        self.reader.poll(None)


class PipeSend(PipeRecv):
    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.sent = 0

    def block(self) -> None:
        while True:
            self.writer.send(self.sent)
            self.sent += 1

    def open(self) -> None:
        self.got = []
        while self.reader.poll():
            self.got.append(self.reader.recv())

    def found(self) -> None:
        # A call may have ended, and the handler have run before that was counted.
        assert self.got == list(range(len(self.got))) and len(self.got) - self.sent in (0, 1)
        self.writer.send(b"sent")
        super().found()


class ConnectionWait(PipeRecv):
    def block(self) -> None:
        wait_for_any([self.reader])


class ProcessJoin(Row):
    def __init__(self, ctx: Any) -> None:
        self.go = ctx.Event()
        self.process = ctx.Process(target=self.go.wait, args=(DEADLINE,))
        self.process.start()

    def block(self) -> None:
        self.process.join()

    def open(self) -> None:
        self.go.set()
        assert wait_for_any([self.process.sentinel], DEADLINE)

    def found(self) -> None:
        self.process.join(DEADLINE)
        assert self.process.exitcode == 0

    def close(self) -> None:
        self.process.kill()
        self.process.join()
        self.process.close()


class ListenerAccept(Row):
    def __init__(self, ctx: Any) -> None:
        self.it = Listener(("127.0.0.1", 0))

    def block(self) -> None:
        self.it.accept()

    def open(self) -> None:
        self.connecting = threading.Thread(target=self._connect, daemon=True)
        self.connecting.start()

    def _connect(self) -> None:
        with Client(self.it.address) as client:
            client.send("hello")

    def found(self) -> None:
        def accept() -> bool:
            with self.it.accept() as connection:
                assert connection.recv() == "hello"
            return True

        _in_thread(accept)
        self.connecting.join(DEADLINE)
        assert not self.connecting.is_alive()

    def close(self) -> None:
        self.it.close()


class AsyncResultGet(Row):
    def __init__(self, ctx: Any) -> None:
        self.manager_event = ctx.Event()
        self.pool = ctx.Pool(1, _keep, (self.manager_event,))
        self.result = self.pool.apply_async(_wait_for_kept)

    def block(self) -> None:
        self.result.get()

    def open(self) -> None:
        self.manager_event.set()

    def found(self) -> None:
        assert self.result.get(DEADLINE) is True

    def close(self) -> None:
        self.pool.terminate()
        self.pool.join()


_kept: Any = None


def _keep(event: Any) -> None:
    global _kept
    _kept = event


def _wait_for_kept() -> bool:
    return bool(_kept.wait(DEADLINE))


def _rows(of: type[Row]) -> Iterator[type[Row]]:
    for row in of.__subclasses__():
        yield row
        yield from _rows(row)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("row", list(_rows(Row)), ids=lambda row: row.__name__)
def test_nothing_is_lost_and_nothing_held(row: type[Row], method: str) -> None:
    ctx = tasuki.get_context(method)
    dice = random.Random(row.__name__)
    main = threading.main_thread()
    assert main.ident and main.native_id
    for number in range(ROUNDS):
        it = row(ctx)
        blocking = threading.Event()

        def handler(*_: Any) -> None:
            it.open()  # noqa: B023
            raise Struck

        def strike() -> None:
            blocking.wait(DEADLINE)  # noqa: B023
            if number % 2 == 0:  # noqa: B023
                until_asleep(main.native_id)
            else:
                time.sleep(dice.uniform(0, 2e-3))
            signal.pthread_kill(main.ident, signal.SIGUSR1)

        before = signal.signal(signal.SIGUSR1, handler)
        striker = threading.Thread(target=strike)
        striker.start()
        try:
            with pytest.raises(Struck):
                blocking.set()
                it.block()
                until(lambda: False)  # what was waited for can come from the handler only
        finally:
            striker.join(DEADLINE)
            signal.signal(signal.SIGUSR1, before)
        it.found()
        it.close()
