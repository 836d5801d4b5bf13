"""close: what a process gives back, what it can still ask, and that nobody else notices."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import pickle
import signal
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, Full
from typing import Any

import pytest

from observing import descriptors
import tasuki
from deadlines import WATCHDOG, struck_asleep, until, until_asleep

PAGE = os.sysconf("SC_PAGESIZE")


def mapped() -> int:
    """Bytes of address space that queues have in this process."""
    maps = Path("/proc/self/maps").read_text().splitlines()
    ranges = [line.split()[0].split("-") for line in maps if "memfd:tasuki:queue" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in ranges)


@pytest.fixture(autouse=True)
def nothing_else() -> Iterator[None]:
    """No queue of another test is left in the way of counting."""
    gc.collect()
    yield
    gc.collect()


MAKE = {
    "Queue": lambda ctx: ctx.Queue(),
    "bounded Queue": lambda ctx: ctx.Queue(5),
    "JoinableQueue": lambda ctx: ctx.JoinableQueue(),
    "bounded JoinableQueue": lambda ctx: ctx.JoinableQueue(5),
    "SimpleQueue": lambda ctx: ctx.SimpleQueue(),
}
kinds = pytest.mark.parametrize("kind", MAKE)


def _other(q: Any) -> Any:
    """The same queue once more."""
    return pickle.loads(pickle.dumps(q))


def _take(q: Any) -> Any:
    value = q.get()
    if hasattr(q, "task_done"):
        q.task_done()
    return value


# --- what is given back


@kinds
def test_descriptors_and_memory_are_given_back_at_once(ctx: Any, kind: str) -> None:
    fds, memory = descriptors(), mapped()
    q = MAKE[kind](ctx)
    q.put(1)
    q.put(b"x" * 3_000_000)
    assert _take(q) == 1 and len(_take(q)) == 3_000_000
    assert descriptors() > fds and mapped() > memory
    q.close()
    assert descriptors() == fds
    # A closed Queue still tells its size.
    assert mapped() - memory == (0 if kind == "SimpleQueue" else PAGE)
    q.close()
    assert descriptors() == fds
    del q
    assert mapped() == memory


@kinds
def test_what_was_asked_for_is_given_back_too(kind: str) -> None:
    """What is polled, and what a pickle of it stands for."""
    fds = descriptors()
    q = MAKE[kind](tasuki)
    assert not q._reader.poll() and q._reader.fileno() >= 0 and q._writer.fileno() >= 0
    ticket = pickle.dumps(q)
    other = pickle.loads(ticket)
    other.close()
    assert not q._reader.poll(0)
    q.close()
    assert descriptors() == fds
    with pytest.raises((RuntimeError, OSError)):
        pickle.loads(ticket)


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_closing_both_ends_is_closing_it(kind: str) -> None:
    fds = descriptors()
    q = MAKE[kind](tasuki)
    q.put(1)
    q._reader.close()
    assert descriptors() > fds
    q._writer.close()
    assert descriptors() == fds
    for use in (q.get, lambda: q.put(1), q.empty, q._reader.fileno):
        with pytest.raises(OSError, match="handle is closed"):
            use()
    q._reader.close(), q._writer.close(), q.close()
    assert descriptors() == fds


def _close_there(q: Any, go: Any, report: Any) -> None:
    assert _take(q) == "first"
    before = descriptors()
    q.close()
    report.send((before - descriptors(), mapped()))
    assert go.recv() == "go"


@kinds
def test_a_child_gives_its_own_back_and_leaves_the_others_alone(ctx: Any, kind: str) -> None:
    q = MAKE[kind](ctx)
    go, there = multiprocessing.Pipe()
    here, report = multiprocessing.Pipe()
    process = ctx.Process(target=_close_there, args=(q, there, report))
    process.start()
    q.put("first")
    assert here.poll(WATCHDOG)
    given_back, memory = here.recv()
    assert given_back == (4 if "bounded" in kind or kind == "SimpleQueue" else 3)
    assert memory <= PAGE
    q.put("second")
    assert _take(q) == "second"
    go.send("go")
    process.join(WATCHDOG)
    assert process.exitcode == 0
    for end in (go, there, here, report):
        end.close()


def test_a_queue_that_was_closed_before_a_fork_is_closed_in_the_child() -> None:
    q: Any = tasuki.Queue()
    q.put(1)
    q.close()

    def child() -> None:
        assert not q._closed  # as there: a child has a copy of its own, though of closed ends
        with pytest.raises(OSError, match="handle is closed"):
            q.get()
        q.close()
        with pytest.raises(ValueError, match="is closed"):
            q.get()

    process = tasuki.get_context("fork").Process(target=child)
    process.start()
    process.join(WATCHDOG)
    assert process.exitcode == 0


# --- nobody else notices


def _collect(q: Any, back: Any) -> None:
    for _ in range(3):
        back.send(_take(q))


@kinds
def test_what_was_put_is_delivered(ctx: Any, kind: str) -> None:
    q = MAKE[kind](ctx)
    here, back = multiprocessing.Pipe()
    process = ctx.Process(target=_collect, args=(q, back))
    process.start()
    for value in (1, "two", b"3" * 100_000):
        q.put(value)
    q.close()
    assert [here.recv() for _ in range(3)] == [1, "two", b"3" * 100_000]
    process.join(WATCHDOG)
    assert process.exitcode == 0
    here.close(), back.close()


def test_a_closed_queue_is_no_longer_a_writer() -> None:
    """Who waits and closed its own writer is told, as if this process had ended."""
    q: Any = tasuki.SimpleQueue()
    other = _other(q)
    q._writer.close()
    other.close()
    with pytest.raises(EOFError):
        q.get()


# --- what a closed one says: as in the standard library


@pytest.mark.parametrize("module", [multiprocessing, tasuki], ids=["standard", "tasuki"])
def test_what_a_closed_queue_says(module: Any) -> None:
    q = module.Queue(1)
    q.put("x")
    assert q._reader.poll(WATCHDOG)
    q.close()
    q.join_thread()
    q.close()
    q.cancel_join_thread()
    for use in (lambda: q.put(1), q.get, lambda: q.put_nowait(1), q.get_nowait, lambda: q.get(timeout=0.1)):
        with pytest.raises(ValueError, match=r"Queue <.*> is closed"):
            use()
    assert (q.qsize(), q.full(), q._maxsize, q._closed) == (1, True, 1, True)
    assert q._sem._semlock._is_zero()
    assert q._reader.closed and q._writer.closed
    for use in (q.empty, q._poll, q._reader.poll, q._reader.fileno, q._writer.fileno):
        with pytest.raises(OSError, match="handle is closed"):
            use()
    with pytest.raises(OSError, match="handle is closed"):
        module.get_context("spawn").Process(target=print, args=(q,)).start()


@pytest.mark.parametrize("module", [multiprocessing, tasuki], ids=["standard", "tasuki"])
def test_a_closed_queue_still_tells_its_size(module: Any) -> None:
    ctx = module.get_context("fork")
    q = ctx.Queue(2)
    process = ctx.Process(target=lambda: [q.get(), q.get()])
    q.put(1), q.put(2)
    assert q.qsize() == 2 and q.full()
    process.start()
    q.close()
    until(lambda: q.qsize() == 0 and not q.full())
    assert q._sem.get_value() == 2
    process.join(WATCHDOG)
    assert process.exitcode == 0
    q.join_thread()


def _work(q: Any, go: Any) -> None:
    assert go.poll(WATCHDOG) and go.recv() == "go"
    for _ in range(3):
        q.get()
        q.task_done()


@pytest.mark.parametrize("module", [multiprocessing, tasuki], ids=["standard", "tasuki"])
def test_a_closed_queue_is_joined(module: Any) -> None:
    ctx = module.get_context("fork")
    go, there = multiprocessing.Pipe()
    fds = descriptors()
    q = ctx.JoinableQueue()
    process = ctx.Process(target=_work, args=(q, there))
    process.start()
    for number in range(3):
        q.put(number)
    q.close()
    assert not q._unfinished_tasks._semlock._is_zero()
    with when_joined(q) as joined:
        assert not joined.is_set()
        go.send("go")
    process.join(WATCHDOG)
    assert process.exitcode == 0
    process.close()
    q.join()
    q.join_thread()
    assert q._unfinished_tasks._semlock._is_zero()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    assert descriptors() == fds
    go.close(), there.close()


class when_joined:
    """Joins in a thread, and waits for that at the end of the block."""

    def __init__(self, q: Any) -> None:
        self._joined = threading.Event()
        self._thread = threading.Thread(target=lambda: (q.join(), self._joined.set()))

    def __enter__(self) -> threading.Event:
        self._thread.start()
        until_asleep(self._thread.native_id)
        return self._joined

    def __exit__(self, *exception: object) -> None:
        self._thread.join(WATCHDOG)
        assert self._joined.is_set()


@pytest.mark.parametrize("module", [multiprocessing, tasuki], ids=["standard", "tasuki"])
def test_tasks_are_reported_done_after_the_close(module: Any) -> None:
    q = module.JoinableQueue()
    q.put(1), q.put(2)
    assert [q.get(), q.get()] == [1, 2]
    q.close()
    q.task_done()
    assert q._unfinished_tasks.get_value() == 1
    q.task_done()
    with pytest.raises(ValueError, match="too many times"):
        q.task_done()
    q.join()


def test_the_last_task_gives_all_back() -> None:
    fds = descriptors()
    q: Any = tasuki.JoinableQueue()
    q.put(1), q.get()
    q.close()
    assert descriptors() > fds
    q.task_done()
    assert descriptors() == fds and mapped() == PAGE


def test_a_join_after_all_was_given_back_waits_for_what_others_put() -> None:
    q: Any = tasuki.JoinableQueue()
    other = _other(q)
    q.close()
    q.join()
    other.put(1)
    assert q._unfinished_tasks.get_value() == 1
    with q._cond:
        assert not q._cond.wait(0.01)
    with when_joined(q) as joined:
        assert not joined.is_set()
        other.get(), other.task_done()
    assert q._unfinished_tasks.get_value() == 0


# --- others are in the midst of it


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue"])
def test_who_waits_goes_on_and_the_last_one_gives_it_back(kind: str) -> None:
    fds = descriptors()
    q = MAKE[kind](tasuki)
    other = _other(q)
    got: list[Any] = []
    threads = [threading.Thread(target=lambda: got.append(q.get())) for _ in range(3)]
    for thread in threads:
        thread.start()
    until_asleep(*(thread.native_id for thread in threads))
    q.close()
    with pytest.raises((ValueError, OSError), match="is closed"):
        q.get()
    for number in range(3):
        other.put(number)
    for thread in threads:
        thread.join(WATCHDOG)
    assert sorted(got) == [0, 1, 2]
    other.close()
    assert descriptors() == fds


def test_who_waits_for_room_goes_on() -> None:
    fds = descriptors()
    q: Any = tasuki.Queue(1)
    other = _other(q)
    q.put("full")
    thread = threading.Thread(target=q.put, args=("waits",))
    thread.start()
    until_asleep(thread.native_id)
    q.close()
    assert [other.get(), other.get()] == ["full", "waits"]
    thread.join(WATCHDOG)
    other.close()
    assert descriptors() == fds


@kinds
def test_threads_use_it_while_it_is_closed(kind: str) -> None:
    fds = descriptors()
    for _ in range(30):
        q = MAKE[kind](tasuki)
        ready = threading.Barrier(7)
        told: list[BaseException] = []

        def use(what: Any, q: Any = q, ready: Any = ready, told: Any = told) -> None:
            ready.wait()
            try:
                while True:
                    try:
                        what(q)
                    except (Empty, Full):
                        pass
            except (ValueError, OSError) as error:
                told.append(error)

        # Nobody takes what is left, so that a put must not wait for ever.
        uses = (
            lambda q: (q.put(1, timeout=0.001), q.get(timeout=0.001)),
            lambda q: (q.put_nowait(2), q.get_nowait()),
            lambda q: (q.put_many([3, 4], timeout=0.001), q.get_many(2, timeout=0.001)),
            lambda q: q._reader.poll(0.001),
            lambda q: q._reader.fileno() + q._writer.fileno(),
            lambda q: (q.put(b"x" * 100_000, timeout=0.001), q.get(timeout=0.001)),
        )
        threads = [threading.Thread(target=use, args=(what,)) for what in uses]
        for thread in threads:
            thread.start()
        ready.wait()
        q.close()
        for thread in threads:
            thread.join(WATCHDOG)
            assert not thread.is_alive()
        assert len(told) == 6
        del q, use, told, threads, thread, uses
    gc.collect()
    assert descriptors() == fds


def test_a_signal_handler_that_closes_it() -> None:
    fds = descriptors()
    q: Any = tasuki.Queue()
    other = _other(q)

    def handler(*_: object) -> None:
        q.close()
        other.put("after the close")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with struck_asleep(signal.SIGUSR1):
            assert q.get() == "after the close"
    finally:
        signal.signal(signal.SIGUSR1, before)
    other.close()
    assert descriptors() == fds


def test_a_signal_handler_that_closes_it_and_raises() -> None:
    fds = descriptors()
    q: Any = tasuki.Queue(1)
    q.put("full")

    def handler(*_: object) -> None:
        q.close()
        raise KeyError("closed")

    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with struck_asleep(signal.SIGUSR1), pytest.raises(KeyError):
            q.put("waits")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert descriptors() == fds and q.qsize() == 1


class _Closes:
    """Closes a queue while it is pickled."""

    def __init__(self, q: Any) -> None:
        self.q = q

    def __reduce__(self) -> Any:
        self.q.close()
        return int, ()


@pytest.mark.parametrize("put", [lambda q, x: q.put(x), lambda q, x: q.put_many([1, x, 2])])
def test_an_object_that_closes_it_while_it_is_put(put: Any) -> None:
    fds = descriptors()
    q: Any = tasuki.Queue()
    with pytest.raises(ValueError, match="is closed"):
        put(q, _Closes(q))
    assert descriptors() == fds and q.qsize() == 0


class _ClosesWhenRead:
    q: Any = None

    def __reduce__(self) -> Any:
        return _close_when_read, ()


def _close_when_read() -> str:
    _ClosesWhenRead.q.close()
    return "read"


def test_an_object_that_closes_it_while_it_is_got() -> None:
    fds = descriptors()
    q = _ClosesWhenRead.q = tasuki.Queue()
    q.put(_ClosesWhenRead())
    assert q.get() == "read"
    assert descriptors() == fds
    q = _ClosesWhenRead.q = tasuki.Queue()
    q.put_many([1, _ClosesWhenRead(), b"x" * 100_000])
    assert q.get_many() == [1, "read", b"x" * 100_000]
    assert descriptors() == fds
    _ClosesWhenRead.q = None


def test_a_finaliser_that_closes_it() -> None:
    fds = descriptors()
    q: Any = tasuki.Queue()

    class Closing:
        def __reduce__(self) -> Any:
            junk = Node()
            weakref.finalize(junk, q.close)
            junk.me = junk
            del junk
            gc.collect()
            return int, ()

    with pytest.raises(ValueError, match="is closed"):
        q.put(Closing())
    assert descriptors() == fds


class Node:
    me: Any


def test_a_child_that_is_forked_while_a_thread_waits_gives_all_back() -> None:
    """The thread is not in the child, and its hold on the queue is not, either."""
    q: Any = tasuki.Queue()
    joined: Any = tasuki.JoinableQueue()
    joined.put(1)
    threads = [threading.Thread(target=q.get), threading.Thread(target=joined.join)]
    for thread in threads:
        thread.start()
    until_asleep(*(thread.native_id for thread in threads))
    here, report = multiprocessing.Pipe()

    def child() -> None:
        before = descriptors()
        q.close()
        joined.get(), joined.task_done()
        joined.close()
        report.send((before - descriptors(), mapped()))

    process = tasuki.get_context("fork").Process(target=child)
    process.start()
    assert here.poll(WATCHDOG) and here.recv() == (6, 2 * PAGE)
    process.join(WATCHDOG)
    assert process.exitcode == 0
    q.put("for the thread")
    for thread in threads:
        thread.join(WATCHDOG)
        assert not thread.is_alive()
    here.close(), report.close()


def test_a_child_that_a_handler_forks_in_the_midst_of_a_get() -> None:
    """There the interrupted get goes on, and so has its hold on the queue."""
    q: Any = tasuki.Queue()
    children: list[int] = []

    def handler(*_: object) -> None:
        pid = os.fork()
        if pid == 0:
            q.close()
        else:
            children.append(pid)

    before = signal.signal(signal.SIGUSR1, handler)
    fds, parent, other = descriptors(), os.getpid(), _other(q)
    status = 1
    try:
        with struck_asleep(signal.SIGUSR1):
            got = _get_in_both(q, other, parent, children)
            if os.getpid() != parent:
                status = 0 if got == "child's" and descriptors() <= fds else 2
                os._exit(status)
    finally:
        if os.getpid() != parent:
            os._exit(status)
        signal.signal(signal.SIGUSR1, before)
    assert got == "parent's"
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0


def _get_in_both(q: Any, other: Any, parent: int, children: list[int]) -> Any:
    def feed() -> None:
        until(lambda: bool(children))
        # Both wait for the same queue: whoever is first has the first.
        other.put("x"), other.put("x")

    thread = threading.Thread(target=feed)
    thread.start()
    q.get()
    if os.getpid() != parent:
        return "child's"
    thread.join()
    return "parent's"


# --- in asyncio


@pytest.mark.parametrize("where", ["in the loop", "in a thread"])
def test_a_coroutine_that_waits_is_told(where: str) -> None:
    fds = descriptors()

    async def main() -> None:
        q: Any = tasuki.Queue(1)
        full: Any = tasuki.Queue(1)
        full.put(1)
        tasks = [asyncio.create_task(task) for task in (q.aget(), q.aget(), full.aput(2))]
        while len(asyncio.all_tasks()) < 4 or not _watched():
            await asyncio.sleep(0.01)
        for each in (q, full):
            if where == "in the loop":
                each.close()
            else:
                await asyncio.to_thread(each.close)
        for task in tasks:
            with pytest.raises(ValueError, match="is closed"):
                await asyncio.wait_for(task, WATCHDOG)
        assert not _watched()

    def _watched() -> bool:
        selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
        return len(selector.get_map()) > 1  # one is the loop's own

    asyncio.run(main())
    gc.collect()
    assert descriptors() == fds


# --- what came out of it


def test_an_array_outlives_the_queue_it_came_through() -> None:
    numpy = pytest.importorskip("numpy")
    fds = descriptors()
    q: Any = tasuki.Queue()
    q.put(numpy.arange(1_000_000))
    got = q.get()
    q.close()
    assert int(got.sum()) == 499_999_500_000
    got[0] = 7
    del got
    gc.collect()
    assert descriptors() == fds and mapped() == PAGE
