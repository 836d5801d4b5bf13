"""SimpleQueue, and what programs find behind any queue: `_reader`, `_writer` and the locks that are none."""

from __future__ import annotations

import concurrent.futures
import ctypes
import itertools
import multiprocessing.connection
import multiprocessing.queues
import os
import pickle
import platform
import queue
import selectors
import struct
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from working import kill_workers
import tasuki
from deadlines import WATCHDOG, state, until, until_asleep, when_asleep


# --- what it is


def test_it_is_a_standard_one_with_its_methods() -> None:
    q = tasuki.SimpleQueue()
    assert isinstance(q, tasuki.queues.SimpleQueue) and isinstance(q, multiprocessing.queues.SimpleQueue)
    assert tasuki.queues.SimpleQueue[int].__origin__ is tasuki.queues.SimpleQueue
    assert q.empty()
    for value in (1, "two", [3, None], b"x" * 100_000):
        q.put(value)
        assert not q.empty()
        assert q.get() == value
    assert q.empty()


def test_what_cannot_be_pickled_is_the_callers_error_and_harms_nothing() -> None:
    q = tasuki.SimpleQueue()
    with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
        q.put(lambda: None)
    assert q.empty()


def _echo(there: Any, back: Any) -> None:
    while (value := there.get()) is not None:
        back.put(value)


def test_values_cross_processes_in_their_order(ctx: Any) -> None:
    there, back = ctx.SimpleQueue(), ctx.SimpleQueue()
    process = ctx.Process(target=_echo, args=(there, back))
    process.start()
    for value in range(1000):
        there.put(value)
    there.put(None)
    assert [back.get() for _ in range(1000)] == list(range(1000))
    process.join(120)
    assert process.exitcode == 0


def test_a_closed_one_refuses() -> None:
    q = tasuki.SimpleQueue()
    q.put(1)
    q.close()
    q.close()
    for use in (q.get, lambda: q.put(1), q.empty, q._reader.poll, q._reader.fileno, q._writer.fileno, q._reader.recv):
        with pytest.raises(OSError, match="handle is closed"):
            use()
    assert q._reader.closed and q._writer.closed


def _close_both(q: Any, done: Any) -> None:
    q.close()
    done.set()
    time.sleep(1000)


def test_closing_is_a_matter_of_one_process_only(ctx: Any) -> None:
    q, done = ctx.SimpleQueue(), ctx.Event()
    process = ctx.Process(target=_close_both, args=(q, done), daemon=True)
    process.start()
    assert done.wait(120)
    q.put(1)
    assert q.get() == 1
    process.kill()
    process.join(120)


# --- the ends


@pytest.mark.parametrize("make", [tasuki.Queue, tasuki.SimpleQueue])
def test_the_ends_are_like_those_of_a_pipe(make: Any) -> None:
    q = make()
    reader, writer = q._reader, q._writer
    assert reader == q._reader and reader != writer and hash(reader) == hash(q._reader)
    assert (reader.readable, reader.writable, writer.readable, writer.writable) == (True, False, False, True)
    assert not reader.poll() and not reader.poll(0.01) and not reader.poll(-1)
    writer.send((1, 2))
    assert reader.poll() and reader.poll(None)
    assert reader.recv() == (1, 2)
    writer.send_bytes(b"xx" + pickle.dumps("as a pickle") + b"x", 2, len(pickle.dumps("as a pickle")))
    assert q.get() == "as a pickle"
    q.put("from put")
    assert pickle.loads(reader.recv_bytes()) == "from put"
    q.put("x" * 1000)
    with pytest.raises(OSError, match="bad message length"):
        reader.recv_bytes(10)
    with pytest.raises(ValueError, match="negative"):
        reader.recv_bytes(-1)
    with pytest.raises(ValueError, match="buffer length"):
        writer.send_bytes(b"abc", 2, 2)


@pytest.mark.parametrize("make", [tasuki.Queue, tasuki.SimpleQueue])
def test_each_end_is_closed_by_itself(make: Any) -> None:
    q = make()
    q.put(1)
    with q._writer:
        pass
    assert q._writer.closed and not q._reader.closed
    with pytest.raises(OSError, match="handle is closed"):
        q.put(2)
    assert q.get() == 1
    q._reader.close()
    with pytest.raises(OSError, match="handle is closed"):
        q.get()


def test_poll_waits_for_what_comes() -> None:
    q = tasuki.SimpleQueue()
    for timeout in (WATCHDOG, None):
        with when_asleep(lambda: q.put("x")):
            assert q._reader.poll(timeout)
        assert q.get() == "x"
    began = time.monotonic()
    assert not q._reader.poll(0.2)
    assert time.monotonic() - began >= 0.2


def test_who_has_the_readers_lock_can_rely_on_poll() -> None:
    q = tasuki.SimpleQueue()
    q.put("first")
    q.put("second")
    with q._rlock:
        assert q._reader.poll()
        # Another one is quicker, but not than the poll.
        other = pickle.loads(pickle.dumps(q))
        assert other.get() == "second" and q.empty()
        assert q._reader.poll()
        assert q._reader.recv() == "first"
        assert not q._reader.poll()
        q.put("third")
        assert q._reader.poll()
    assert q.get() == "third"
    q.put("fourth")
    assert q._reader.poll() and other.get() == "fourth"
    with q._wlock:
        q.put("fifth")
    assert q.get() == "fifth"


def _send_through(end: Any) -> None:
    end.send("from the other process")
    end.close()
    try:
        end.send("again")
    except OSError:
        return
    raise AssertionError


def test_an_end_travels_alone(ctx: Any) -> None:
    q = ctx.SimpleQueue()
    process = ctx.Process(target=_send_through, args=(q._writer,))
    process.start()
    assert q.get() == "from the other process"
    process.join(120)
    assert process.exitcode == 0


# --- descriptors


@pytest.mark.parametrize("selector", [selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector])
def test_readable_while_objects_wait(selector: Any) -> None:
    q = tasuki.Queue()
    with selector() as watch:
        watch.register(q, selectors.EVENT_READ, "queue")
        assert watch.select(0) == []
        for _ in range(3):
            q.put(1)
            q.put(2)
            assert [key.data for key, _ in watch.select(WATCHDOG)] == ["queue"]
            q.get()
            assert watch.select(0)
            q.get()
            assert watch.select(0) == []


def test_two_objects_for_one_queue_can_be_watched_beside_each_other() -> None:
    q = tasuki.Queue()
    same = pickle.loads(pickle.dumps(q))
    assert q.fileno() == q.fileno() != same.fileno()
    with selectors.DefaultSelector() as watch:
        watch.register(q, selectors.EVENT_READ)
        watch.register(same, selectors.EVENT_READ)
        q.put(1)
        assert len(watch.select(WATCHDOG)) == 2
    assert same.get() == 1


def test_the_standard_wait_takes_queues_and_their_readers() -> None:
    first, second = tasuki.Queue(), tasuki.SimpleQueue()
    wait = multiprocessing.connection.wait
    objects = [first, second._reader]
    assert wait(objects, 0) == []
    second.put(1)
    assert wait(objects, WATCHDOG) == [second._reader]
    first.put(1)
    assert len(wait(objects, WATCHDOG)) == 2
    first.get(), second.get()
    assert wait(objects, 0.01) == []


def _put_after(q: Any, seconds: float) -> None:
    time.sleep(seconds)
    q.put("late")


def test_another_process_makes_it_readable(ctx: Any) -> None:
    q = ctx.SimpleQueue()
    process = ctx.Process(target=_put_after, args=(q, 0.3))
    process.start()
    ready = multiprocessing.connection.wait([q._reader, process.sentinel], WATCHDOG)
    assert q._reader in ready
    assert q.get() == "late"
    process.join(120)


# --- the standard library's pools and executors run on it


def _double(number: int) -> int:
    return 2 * number


def _die(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), 9)
    return number


def test_a_standard_pool(ctx: Any) -> None:
    with ctx.Pool(2) as pool:
        assert isinstance(pool._inqueue, tasuki.queues.SimpleQueue)
        assert pool.map(_double, range(100)) == list(range(0, 200, 2))
        assert pool.map(len, [b"x" * 200_000] * 5) == [200_000] * 5
        assert sorted(pool.imap_unordered(_double, range(10))) == list(range(0, 20, 2))
        assert isinstance(pool.apply_async(time.sleep, (60,)), object)  # terminated in the midst of it


def test_a_standard_pool_does_not_pull_everything_out_of_a_generator(ctx: Any) -> None:
    made = 0

    def tasks() -> Any:
        nonlocal made
        for made in itertools.count(1):
            yield b"x" * 10_000

    with ctx.Pool(1, time.sleep, (600,)) as pool:  # its worker never gets to a task
        pool.imap(len, tasks())
        until(lambda: made >= 100)
        time.sleep(0.5)  # in which it might go on, if nothing kept it
        assert 100 <= made <= 110


def test_a_full_one_lets_putters_wait_but_takes_what_is_larger_than_itself() -> None:
    q = tasuki.SimpleQueue()
    huge = b"h" * 5_000_000
    q.put(huge)
    assert q.full() and not q.empty()
    with pytest.raises(queue.Full):
        q.put(b"", False)
    thread = threading.Thread(target=q.put, args=(huge,))
    thread.start()
    thread.join(0.1)
    assert thread.is_alive()
    assert q.get() == huge
    thread.join(120)
    assert q.get() == huge and not q.full()
    thread = threading.Thread(target=lambda: [q.put(b"s" * 1000) for _ in range(5000)])
    thread.start()
    until_asleep(thread.native_id)
    assert thread.is_alive() and q.qsize() <= 1049
    assert [len(q.get()) for _ in range(5000)] == [1000] * 5000
    thread.join(120)


def test_a_pool_is_terminated_with_any_number_of_tasks_waiting(ctx: Any) -> None:
    for _ in range(3):
        pool = ctx.Pool(2)
        pool.map_async(time.sleep, [0.01] * 20_000, chunksize=1)
        time.sleep(0.1)
        pool.terminate()
        pool.join()


def test_a_standard_executor(ctx: Any) -> None:
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=ctx) as executor:
        assert isinstance(executor._result_queue, tasuki.queues.SimpleQueue)
        assert list(executor.map(_double, range(100))) == list(range(0, 200, 2))


def test_a_standard_executor_notices_a_killed_worker(ctx: Any) -> None:
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=ctx) as executor:
        with pytest.raises(concurrent.futures.process.BrokenProcessPool):
            list(executor.map(_die, range(10)))


# --- the end of the writers


def _until_the_end(q: Any, got: Any) -> None:
    q._writer.close()
    try:
        while True:
            got.put(q.get())
    except EOFError:
        got.put("the end")


def _write_and_die(q: Any, how: str) -> None:
    q.put(1)
    if how == "close":
        q._writer.close()
        time.sleep(1000)
    os.kill(os.getpid(), 9)


@pytest.mark.parametrize("how", ["close", "die"])
def test_a_reader_without_a_writer_learns_that_no_other_is_left(ctx: Any, how: str) -> None:
    q, got = ctx.SimpleQueue(), ctx.Queue()
    reader = ctx.Process(target=_until_the_end, args=(q, got))
    writer = ctx.Process(target=_write_and_die, args=(q, how), daemon=True)
    reader.start()
    writer.start()
    assert got.get(timeout=120) == 1
    with pytest.raises(queue.Empty):
        got.get(timeout=1.5)  # this process has its writer
    q.put(2)
    assert got.get(timeout=120) == 2
    q._writer.close()
    assert got.get(timeout=120) == "the end"
    reader.join(120)
    writer.kill()
    writer.join(120)


def test_a_child_that_is_starting_may_be_a_writer(ctx: Any) -> None:
    q = ctx.SimpleQueue()
    slow = ctx.Process(target=_put_after, args=(q, 2))
    dead = ctx.Process(target=_write_and_die, args=(q, "die"))
    slow.start()
    dead.start()
    q._writer.close()
    assert q.get() == 1
    dead.join(120)
    assert q.get() == "late"
    slow.join(120)
    if ctx.get_start_method() == "spawn":  # a fork server or a forked sibling may have a copy
        with pytest.raises(EOFError):
            q.get()


#: getdents64, by which whoever looks through /proc lists it.
_LISTS_A_DIRECTORY = {"x86_64": 217, "aarch64": 61}.get(platform.machine())


def _die_when_it_lists_a_directory() -> int:
    """From now on the kernel kills this process for that."""
    program = struct.pack("HBBI", 0x20, 0, 0, 0)  # load the number of the system call
    program += struct.pack("HBBI", 0x15, 0, 1, _LISTS_A_DIRECTORY)  # another one: skip the next
    program += struct.pack("HBBI", 0x06, 0, 0, 0x80000000)  # kill the process
    program += struct.pack("HBBI", 0x06, 0, 0, 0x7FFF0000)  # allow
    code = ctypes.create_string_buffer(program, len(program))

    class Program(ctypes.Structure):
        _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]

    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(38, 1, 0, 0, 0) == 0  # PR_SET_NO_NEW_PRIVS
    filter = Program(len(program) // 8, ctypes.addressof(code))
    assert libc.prctl(22, 2, ctypes.byref(filter)) == 0, os.strerror(ctypes.get_errno())  # PR_SET_SECCOMP
    return os.getpid()


def _answer_without_directories(q: Any, back: Any) -> None:
    q._writer.close()
    back.put(q.get())
    back.put(q.get())
    _die_when_it_lists_a_directory()
    while (message := q.get()) is not None:
        back.put(message)


@pytest.mark.skipif(_LISTS_A_DIRECTORY is None, reason="the number of getdents64 is not known here")
def test_a_reader_without_a_writer_looks_for_nobody_while_one_lives(ctx: Any) -> None:
    q, back = ctx.SimpleQueue(), ctx.Queue()
    reader = ctx.Process(target=_answer_without_directories, args=(q, back))
    reader.start()
    for number in range(30):
        q.put(number)
        assert back.get(timeout=120) == number
        time.sleep(0.01 if number % 10 else 1.2)  # long enough to fall asleep; now and then long enough to look
    q.put(None)
    reader.join(120)
    assert reader.exitcode == 0


@pytest.mark.skipif(_LISTS_A_DIRECTORY is None, reason="the number of getdents64 is not known here")
def test_the_workers_of_a_pool_look_for_nobody(ctx: Any) -> None:
    with ctx.Pool(1) as pool:
        assert pool.apply(abs, (-1,)) == pool.apply(abs, (1,))
        worker = pool.apply(_die_when_it_lists_a_directory)
        for _ in range(30):
            assert pool.apply(os.getpid) == worker
            time.sleep(0.01)


ORPHANS = """
    import time
    import tasuki

    if __name__ == "__main__":
        pool = tasuki.get_context("{method}").Pool(3)
        pool.map(abs, range(10))
        print(*[worker.pid for worker in pool._pool], flush=True)
        time.sleep(1000)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_the_workers_of_a_pool_end_when_their_parent_is_killed(tmp_path: Path, method: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(textwrap.dedent(ORPHANS.format(method=method)))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        workers = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(workers) == 3
        parent.kill()
    until(lambda: all(state(pid) in ("Z", None) for pid in workers))


# --- death


def test_killed_producers_and_consumers_do_not_stop_the_others(ctx: Any) -> None:
    q = ctx.SimpleQueue()
    q._reader.fileno()
    kill_workers(ctx, q)
    while not q.empty():
        assert q.get(timeout=WATCHDOG) == b"m" * 100
    q.put(b"last")
    assert q._reader.poll(120) and q.get() == b"last"
