"""Many readers or one writer: exclusion, waking, deaths, travel and refusals."""

import os
import signal
import threading
import time
import warnings

import pytest

import tasuki
import tasuki.dummy
from tasuki import OwnerDied, OwnerDiedWarning

from deadlines import until

KINDS = pytest.mark.parametrize("package", [tasuki, tasuki.dummy])


@KINDS
def test_readers_read_together_and_a_writer_is_alone(package):
    lock = package.RwLock()
    with lock.read():
        assert lock.acquire_read(timeout=1)
        assert lock.readers == 2
        assert not lock.acquire_write(False)
        assert not lock.acquire_write(timeout=0.03)
        lock.release_read()
    assert lock.readers == 0 and not lock.locked()
    with lock.write():
        assert lock.locked()
        assert not lock.acquire_read(block=False)
        assert not lock.acquire_read(True, 0.03)
        assert not lock.acquire_read(True, -1)
        assert not lock.acquire_write(False)
    assert lock.acquire_write()
    lock.release_write()


@KINDS
def test_what_is_not_held_is_not_given_back(package):
    lock = package.RwLock()
    for release in lock.release_read, lock.release_write:
        with pytest.raises(ValueError, match="does not"):
            release()
    with lock.read():
        with pytest.raises(ValueError, match="does not write"):
            lock.release_write()
    with pytest.raises(KeyError):
        with lock.write():
            raise KeyError("inside")
    assert lock.acquire_write(False)


@KINDS
def test_a_writer_that_waits_goes_before_new_readers(package):
    lock, seen = package.RwLock(), []

    def write():
        with lock.write():
            seen.append("write")

    def read():
        with lock.read():
            seen.append("read")

    with lock.read():
        writer = threading.Thread(target=write)
        writer.start()
        until(lock.locked, "the writer waits")
        reader = threading.Thread(target=read)
        reader.start()
        assert not lock.acquire_read(timeout=0.02)
    writer.join()
    reader.join()
    assert seen == ["write", "read"]


def work(lock, counts, total, rounds):
    for number in range(rounds):
        if number % 4:
            with lock.read():
                first, second = counts
                assert first == second, "half written"
        else:
            with lock.write():
                counts[0] += 1
                counts[1] += 1
            with total:
                total.value += 1


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_nobody_reads_what_is_half_written(method):
    ctx = tasuki.get_context(method)
    lock, counts, total = ctx.RwLock(), ctx.RawArray("q", 2), ctx.Value("q", 0)
    processes = [ctx.Process(target=work, args=(lock, counts, total, 400)) for _ in range(3)]
    for process in processes:
        process.start()
    thread = threading.Thread(target=work, args=(lock, counts, total, 400))
    thread.start()
    thread.join()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert list(counts) == [total.value] * 2 == [400, 400]


def hold(lock, writes, ready):
    with lock.write() if writes else lock.read():
        ready.set()
        time.sleep(1000)


def held_by_a_dead_one(ctx, lock, writes):
    ready = ctx.Event()
    process = ctx.Process(target=hold, args=(lock, writes, ready))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()
    return process.pid


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_killed_reader_is_forgotten_and_nobody_is_told(method):
    ctx = tasuki.get_context(method)
    lock = ctx.RwLock()
    held_by_a_dead_one(ctx, lock, False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert lock.acquire_write(False)
    lock.release_write()


@pytest.mark.parametrize("side", ["read", "write"])
def test_a_writers_death_is_told_once(side):
    ctx = tasuki.get_context("fork")
    lock = ctx.RwLock()
    acquire, release = getattr(lock, f"acquire_{side}"), getattr(lock, f"release_{side}")
    pid = held_by_a_dead_one(ctx, lock, True)
    with pytest.raises(OwnerDied) as told:
        acquire()
    assert told.value.pid == pid and "while it held the lock" in str(told.value)
    assert acquire(False)  # free, and told
    release()

    lock.on_owner_died = "warn"
    held_by_a_dead_one(ctx, lock, True)
    with pytest.warns(OwnerDiedWarning):
        assert acquire()
    release()

    lock.on_owner_died = "ignore"
    held_by_a_dead_one(ctx, lock, True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert acquire(timeout=60)
    release()
    with pytest.raises(ValueError, match="on_owner_died"):
        lock.on_owner_died = "never"


def give_back(lock, results):
    for release in lock.release_read, lock.release_write:
        try:
            release()
        except ValueError as error:
            results.put(str(error))
    results.put(lock.on_owner_died)


@pytest.mark.parametrize("codec", ["pickle", "msgpack"])
def test_it_travels_in_messages(codec):
    ctx = tasuki.get_context("fork")
    lock, queue, results = ctx.RwLock(on_owner_died="warn"), ctx.Queue(codec=codec), ctx.Queue()
    queue.put([lock])
    (same,) = queue.get()
    assert type(same) is type(lock)
    with lock.read(), same.read():
        assert lock.readers == same.readers == 2
        assert not same.acquire_write(False)
        # Another process holds nothing of that.
        process = ctx.Process(target=give_back, args=(lock, results))
        process.start()
        got = [results.get(timeout=60) for _ in range(3)]
        process.join()
    assert got == ["this process does not read", "this process does not write", "warn"]


def test_a_handler_that_raises_leaves_nothing_held():
    lock = tasuki.RwLock()

    def raises(*_):
        raise KeyError("from the handler")

    before = signal.signal(signal.SIGALRM, raises)
    try:
        for acquire in lock.acquire_write, lock.write().__enter__:
            lock.acquire_read()
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyError):
                acquire()
            assert lock.acquire_read(False)
            lock.release_read()
            lock.release_read()
        lock.acquire_write()
        for acquire in lock.acquire_read, lock.read().__enter__:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(KeyError):
                acquire()
        lock.release_write()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert (lock.readers, lock.locked()) == (0, False)


def test_a_handler_that_asks_for_it_in_a_wait_gets_an_error():
    lock, errors = tasuki.RwLock(), []

    def asks(*_):
        for acquire in lock.acquire_read, lock.acquire_write:
            try:
                acquire()
            except Exception as error:
                errors.append(str(error))
        lock.release_read()  # what is waited for

    before = signal.signal(signal.SIGALRM, asks)
    try:
        lock.acquire_read()
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert lock.acquire_write(timeout=60)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert len(errors) == 2 and all("would wait for it" in error for error in errors), errors
    lock.release_write()


def test_a_forked_child_holds_nothing():
    lock = tasuki.RwLock()
    with lock.read():
        pid = os.fork()
        if pid == 0:
            try:
                lock.release_read()
            except ValueError:
                os._exit(0 if lock.acquire_read(False) and not lock.acquire_write(False) else 2)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert not lock.acquire_write(False)
    assert lock.acquire_write()


def test_it_says_what_it_is():
    lock = tasuki.RwLock()
    with lock.read():
        assert "RwLock" in repr(lock) and "readers: 1" in repr(lock)
    with lock.write():
        assert "wanted by a writer" in repr(lock)
    unmade = type(lock).__new__(type(lock))
    with pytest.raises(RuntimeError, match="never made"):
        unmade.acquire_read()
    with pytest.raises(RuntimeError, match="made already"):
        lock._create()
