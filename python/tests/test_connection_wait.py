"""wait, selectors and asyncio: who waits for several things hears each of them, and is not told of what is not there."""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing.connection
import os
import select
import selectors
import signal
import socket
import threading
import time
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

import tasuki
from deadlines import WATCHDOG, when_asleep
from tasuki.connection import Listener, Client, wait


@pytest.fixture(params=[True, False], ids=["duplex", "simplex"])
def ends(request: pytest.FixtureRequest) -> Any:
    reader, writer = tasuki.Pipe(request.param)
    with reader, writer:
        yield reader, writer


def test_the_ready_ones_in_their_order() -> None:
    pipes = [tasuki.Pipe(False) for _ in range(5)]
    readers = [reader for reader, _ in pipes]
    assert wait(readers, 0) == [] and wait(readers, -1) == [] and wait([], 0) == []
    for index in (3, 1):
        pipes[index][1].send(index)
    assert wait(readers) == [readers[1], readers[3]]
    assert readers[1].recv() == 1
    assert wait(readers, WATCHDOG) == [readers[3]]
    pipes[0][1].close()
    assert wait(iter(readers)) == [readers[0], readers[3]]
    with pytest.raises(EOFError):
        readers[0].recv()
    for end in (end for pipe in pipes for end in pipe):
        end.close()


def test_it_waits_as_long_as_it_is_told(ends: Any) -> None:
    began = time.monotonic()
    assert wait([ends[0]], 0.7) == []
    assert time.monotonic() - began >= 0.69


def test_waiting_for_nothing_sleeps() -> None:
    began = time.thread_time()
    assert wait([], 0.5) == []
    assert time.thread_time() - began < 0.25


def test_what_cannot_be_waited_for(ends: Any) -> None:
    reader, writer = ends
    with pytest.raises(KeyError):
        wait([reader, reader], 0)
    for nothing in ("text", object(), -1):
        with pytest.raises(ValueError):
            wait([nothing], 0)
    reader.close()
    with pytest.raises(OSError):
        wait([reader], 0)


def _sleep_after(connection: Any, seconds: float) -> None:
    connection.send(os.getpid())
    time.sleep(seconds)


def test_all_kinds_at_once(ctx: Any) -> None:
    """A pipe, a connection over a socket, a queue, a socket, a pipe of the system, a process."""
    reader, writer = ctx.Pipe(False)
    q = ctx.Queue()
    one, other = socket.socketpair()
    system_reader, system_writer = os.pipe()
    listener = Listener()
    client = Client(listener.address)
    server = listener.accept()
    process = ctx.Process(target=_sleep_after, args=(writer, 1000))
    process.start()
    assert reader.recv() == process.pid
    sources = [reader, server, q, one, system_reader, process.sentinel]
    wakers: list[Any] = [
        lambda: writer.send(1),
        lambda: client.send(1),
        lambda: q.put(1),
        lambda: other.send(b"1"),
        lambda: os.write(system_writer, b"1"),
        process.kill,
    ]
    takers: list[Any] = [
        reader.recv,
        server.recv,
        q.get,
        lambda: one.recv(1),
        lambda: os.read(system_reader, 1),
        lambda: None,
    ]
    assert wait(sources, 0) == []
    for source, wake, take in zip(sources, wakers, takers):
        with when_asleep(wake):
            assert wait(sources, WATCHDOG) == [source]
        take()
    process.join(WATCHDOG)
    for wake in wakers[:5]:
        wake()
    assert wait(sources, WATCHDOG) == sources
    for thing in (reader, writer, one, other, client, server, listener):
        thing.close()
    os.close(system_reader)
    os.close(system_writer)


def _send_all(connection: Any, who: int, many: int) -> None:
    for number in range(many):
        connection.send((who, number))
    connection.close()


def test_every_message_of_many_senders_is_heard(ctx: Any) -> None:
    readers = []
    processes = []
    for who in range(4):
        reader, writer = ctx.Pipe(False)
        process = ctx.Process(target=_send_all, args=(writer, who, 1000))
        process.start()
        writer.close()
        readers.append(reader)
        processes.append(process)
    seen = dict.fromkeys(range(4), 0)
    while readers:
        for reader in wait(readers):
            try:
                who, number = reader.recv()
            except EOFError:
                readers.remove(reader)
                reader.close()
            else:
                assert number == seen[who]
                seen[who] += 1
    assert set(seen.values()) == {1000}
    for process in processes:
        process.join(WATCHDOG)


def test_a_killed_peer_is_heard(ctx: Any) -> None:
    reader, writer = ctx.Pipe(False)
    process = ctx.Process(target=_sleep_after, args=(writer, 1000))
    process.start()
    writer.close()
    assert reader.recv() == process.pid
    with when_asleep(process.kill):
        assert wait([reader]) == [reader]
    with pytest.raises(EOFError):
        reader.recv()
    process.join(WATCHDOG)


def test_the_standard_wait_hears_it_too(ends: Any) -> None:
    from multiprocessing.connection import wait as standard_wait

    reader, writer = ends
    writer.send("before it was asked for its descriptor")
    assert standard_wait([reader], WATCHDOG) == [reader]
    assert reader.recv().startswith("before")
    assert standard_wait([reader], 0) == []
    for number in range(100):
        writer.send(number)
        assert standard_wait([reader], WATCHDOG) == [reader]
        assert reader.recv() == number
    assert standard_wait([reader], 0) == []
    writer.close()
    assert standard_wait([reader], WATCHDOG) == [reader]


@pytest.mark.parametrize("kind", [selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector])
def test_selectors(ends: Any, kind: Any) -> None:
    reader, writer = ends
    with kind() as selector:
        selector.register(reader, selectors.EVENT_READ)
        assert selector.select(0) == []
        for messages in (1, 3, 200):
            for number in range(messages):
                writer.send(number)
            for number in range(messages):
                assert len(selector.select(WATCHDOG)) == 1
                assert reader.recv() == number
            assert selector.select(0) == []
        writer.send_bytes(bytes(30_000))
        assert len(selector.select(WATCHDOG)) == 1
        reader.recv_bytes()
        assert selector.select(0) == []
        writer.close()
        assert len(selector.select(WATCHDOG)) == 1


def test_the_descriptor_stays_the_same_and_goes_with_the_end(ends: Any) -> None:
    reader, writer = ends
    numbers = {reader.fileno() for _ in range(3)}
    assert len(numbers) == 1
    assert isinstance(writer.fileno(), int)
    os.fstat(numbers.copy().pop())
    reader.close()
    with pytest.raises(OSError):
        os.fstat(numbers.pop())


def test_a_forked_child_has_a_descriptor_of_its_own() -> None:
    ctx = tasuki.get_context("fork")
    reader, writer = ctx.Pipe(False)
    reader.fileno()
    answers = ctx.Queue()
    process = ctx.Process(target=_listen, args=(reader, answers))
    process.start()
    assert answers.get(timeout=WATCHDOG) == []
    writer.send(1)
    assert answers.get(timeout=WATCHDOG) == 1
    process.join(WATCHDOG)
    assert not reader.poll()
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        assert selector.select(0) == []
        writer.send(2)
        assert len(selector.select(WATCHDOG)) == 1
    reader.close()
    writer.close()


def _listen(reader: Any, answers: Any) -> None:
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        answers.put(selector.select(0))
        selector.select(WATCHDOG)
        answers.put(reader.recv())


def test_asyncio_reads_when_there_is_something(ctx: Any) -> None:
    reader, writer = ctx.Pipe(False)
    process = ctx.Process(target=_send_all, args=(writer, 7, 500))
    process.start()
    writer.close()

    async def read() -> list[Any]:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        got: list[Any] = []

        def ready() -> None:
            try:
                got.append(reader.recv())
            except EOFError:
                loop.remove_reader(reader)
                done.set_result(None)

        loop.add_reader(reader, ready)
        await done
        return got

    assert asyncio.run(read()) == [(7, number) for number in range(500)]
    process.join(WATCHDOG)
    reader.close()


def test_a_process_pool_executor_with_our_pipes() -> None:
    """It waits for queues, wake-ups and sentinels with the standard library's own wait."""
    import concurrent.futures

    ctx = tasuki.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=ctx) as executor:
        assert list(executor.map(abs, range(-20, 0))) == list(range(20, 0, -1))


def test_the_descriptor_is_told_at_once_while_another_thread_receives_a_large_message(ends: Any) -> None:
    reader, writer = ends
    stop = threading.Event()

    def send() -> None:
        with contextlib.suppress(OSError):
            while not stop.is_set():
                writer.send_bytes(b"x" * (4 << 20))
            writer.send_bytes(b"")

    def receive() -> None:
        while reader.recv_bytes():
            pass

    threads = [threading.Thread(target=work, daemon=True) for work in (send, receive)]
    for thread in threads:
        thread.start()
    time.sleep(0.05)
    # Most likely in the middle of a message, whose sender waits for room that only the other thread makes.
    number = reader.fileno()
    stop.set()
    for thread in threads:
        thread.join()
    poller = select.poll()
    poller.register(number, select.POLLIN)
    assert not poller.poll(0)
    writer.send(1)
    assert poller.poll(0) and reader.recv() == 1 and not poller.poll(0)


def test_both_ends_in_one_process_and_a_descriptor_asked_for_in_between() -> None:
    for _ in range(30):
        reader, writer = tasuki.Pipe(False)
        thread = threading.Thread(target=lambda writer=writer: [writer.send_bytes(b"x" * 300_000) for _ in range(3)])
        thread.start()
        reader.fileno()
        assert [len(reader.recv_bytes()) for _ in range(3)] == [300_000] * 3
        thread.join()
        assert not select.select([reader], [], [], 0)[0]
        reader.close()
        writer.close()


def _send_for_ever(writer: Any) -> None:
    number = 0
    while True:
        writer.send(number)
        number += 1


@pytest.mark.parametrize("asked", [True, False])
def test_no_deadline_is_missed_while_the_sender_is_stopped(asked: bool) -> None:
    context = tasuki.get_context("fork")
    for round in range(20):
        reader, writer = tasuki.Pipe(False)
        if asked:
            reader.fileno()
        sender = context.Process(target=_send_for_ever, args=(writer,), daemon=True)
        sender.start()
        writer.close()
        for _ in range(50):
            reader.recv()
        time.sleep(round * 0.0003)
        os.kill(sender.pid, signal.SIGSTOP)
        ticks = 0
        while reader.poll(0.02):
            reader.recv()
        assert not wait([reader], 0.02)
        # It has stopped, wherever that was; when it goes on, nothing is lost.
        reader.fileno()
        os.kill(sender.pid, signal.SIGCONT)
        before = reader.recv()
        for ticks in range(1, 20):
            assert reader.recv() == before + ticks
        sender.kill()
        sender.join()
        reader.close()


def test_who_only_polls_is_told_that_another_process_took_the_message() -> None:
    context = tasuki.get_context("fork")
    reader, writer = tasuki.Pipe(False)
    go, results = context.Semaphore(0), context.SimpleQueue()

    def poll() -> None:
        poller = select.poll()
        poller.register(reader, select.POLLIN)
        for _ in range(3):
            results.put(bool(poller.poll(0)))
            go.acquire()

    writer.send(1)
    child = context.Process(target=poll)
    child.start()
    assert results.get()
    assert reader.recv() == 1
    go.release()
    assert not results.get()
    writer.send(2)
    go.release()
    assert results.get()
    go.release()
    child.join()
    assert reader.recv() == 2


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes, as far as a program's own modules tell: what freezegun does, whose list of exceptions we are not on."""
    monkeypatch.setattr(time, "monotonic", lambda: 1000.0)
    monkeypatch.setattr(time, "time", lambda: 1000.0)


def test_a_frozen_clock_does_not_stop_a_wait(frozen: None, ends: Any) -> None:
    assert wait([ends[0]], 0.2) == []
    queue: Any = tasuki.Queue()
    for timeout in (0, 0.2):
        assert not queue._reader.poll(timeout)
        assert not ends[0].poll(timeout)
    process = tasuki.get_context("fork").Process(target=ends[0].poll, args=(60,))
    process.start()
    process.join(0.2)
    assert process.is_alive()
    ends[1].send("go")
    process.join(60)
    assert process.exitcode == 0
    queue.close()


def test_any_number_is_a_timeout(ends: Any) -> None:
    reader, writer = ends
    for timeout in (Fraction(1, 10), Decimal("0.1"), 0.1, True, -5, -math.inf, Fraction(-1, 3)):
        if timeout is not True:
            assert wait([reader], timeout) == []
            assert not reader.poll(timeout)
    writer.send("there")
    for timeout in (Fraction(1, 10), Decimal("0.1"), 1e300, 10**30, math.inf, -1, True):
        assert wait([reader], timeout) == [reader]
        assert reader.poll(timeout)
    for nothing in ("1", [], object()):
        with pytest.raises(TypeError):
            wait([reader], nothing)
    with pytest.raises(OverflowError):
        wait([reader], 10**400)


def test_huge_timeouts_wait(ends: Any) -> None:
    reader, writer = ends
    for timeout in (1e300, math.inf, 10**30, None):
        timer = threading.Timer(0.05, writer.send, ["there"])
        timer.start()
        assert wait([reader], timeout) == [reader]
        assert reader.recv() == "there"
        timer.join()


def test_a_missing_poll_does_not_matter(monkeypatch: pytest.MonkeyPatch, ends: Any) -> None:
    """As libraries do that let other tasks run meanwhile."""
    monkeypatch.delattr(select, "poll")
    assert wait([ends[0]], 0.05) == []
    queue: Any = tasuki.Queue()
    assert not queue._reader.poll(0.05)
    queue.put(1)
    assert queue._reader.poll(60) and queue.get() == 1
    queue.close()


def test_a_selector_of_the_programs_own_is_used(monkeypatch: pytest.MonkeyPatch, ends: Any) -> None:
    used = []

    class Selector(selectors.SelectSelector):
        def select(self, timeout: float | None = None) -> Any:
            used.append(timeout)
            return super().select(timeout)

    monkeypatch.setattr(multiprocessing.connection, "_WaitSelector", Selector)
    assert wait([ends[0]], 0.05) == []
    assert used
    ends[1].send(1)
    assert wait([ends[0]], 60) == [ends[0]]
