"""Pipe and Connection: what is sent comes, in order and whole; the end is seen; misuse is told. In all start methods."""

from __future__ import annotations

import array
import os
import pickle
import signal
import socket
import threading
import time
from multiprocessing.reduction import ForkingPickler
from typing import Any

import pytest

from observing import descriptors
import tasuki
from deadlines import struck_asleep, until, until_asleep, when_asleep
from tasuki.connection import Connection

PLAIN = [
    None,
    True,
    False,
    0,
    -1,
    2**63 - 1,
    2**64 - 1,
    0.5,
    float("inf"),
    "",
    "襷",
    "a" * 5000,
    b"",
    b"baton",
    b"\0" * 70_000,
]
PICKLED = [
    2**64,
    "\ud800",
    (1, "two"),
    [1, [2]],
    {"a": 1},
    {1, 2},
    bytearray(b"x"),
    1j,
    print,
    ValueError,
    ["z" * 200_000],
]


@pytest.fixture(params=[True, False], ids=["duplex", "simplex"])
def ends(request: pytest.FixtureRequest) -> Any:
    """The two ends of a pipe, first the one to receive at."""
    reader, writer = tasuki.Pipe(request.param)
    with reader, writer:
        yield reader, writer


@pytest.fixture(params=["pipe", "socket"])
def any_ends(request: pytest.FixtureRequest) -> Any:
    """The two ends of a connection of each kind, first the one to receive at."""
    if request.param == "pipe":
        reader, writer = tasuki.Pipe()
    else:
        reader, writer = (tasuki.connection.Connection(end.detach()) for end in socket.socketpair())
    with reader, writer:
        yield reader, writer


# --- what comes out is what went in


@pytest.mark.parametrize("value", PLAIN + PICKLED, ids=lambda value: repr(value)[:20])
def test_an_object_comes_out_as_it_went_in(ends: Any, value: object) -> None:
    reader, writer = ends
    sender = threading.Thread(target=writer.send, args=(value,))
    sender.start()
    got = reader.recv()
    sender.join()
    assert got == value and type(got) is type(value)


@pytest.mark.parametrize(
    "size", [0, 1, 4095, 4096, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 1 << 20, 20_000_003]
)
def test_bytes_of_every_size(ends: Any, size: int) -> None:
    reader, writer = ends
    data = (os.urandom(997) * (size // 997 + 1))[:size]
    sender = threading.Thread(target=writer.send_bytes, args=(data,))
    sender.start()
    assert reader.recv_bytes() == data
    sender.join()
    assert not reader.poll()


def test_both_ways_at_once() -> None:
    a, b = tasuki.Pipe()
    with a, b:
        for number in range(100):
            a.send(number)
            b.send(-number)
        assert [b.recv() for _ in range(100)] == list(range(100))
        assert [a.recv() for _ in range(100)] == [-number for number in range(100)]


@pytest.mark.parametrize("value", PLAIN + PICKLED[:8], ids=lambda value: repr(value)[:20])
def test_recv_bytes_of_an_object_is_its_pickle(ends: Any, value: object) -> None:
    reader, writer = ends
    sender = threading.Thread(target=writer.send, args=(value,))
    sender.start()
    assert pickle.loads(reader.recv_bytes()) == value
    sender.join()


def test_recv_of_bytes_unpickles_them(ends: Any) -> None:
    reader, writer = ends
    writer.send_bytes(pickle.dumps(["a", 1]))
    assert reader.recv() == ["a", 1]
    writer.send_bytes(b"no pickle")
    with pytest.raises(pickle.UnpicklingError):
        reader.recv()
    writer.send(b"bytes as an object")
    assert reader.recv() == b"bytes as an object"


def test_messages_are_not_merged_or_split(ends: Any) -> None:
    reader, writer = ends
    for message in (b"a", b"", b"bc", b""):
        writer.send_bytes(message)
    assert [reader.recv_bytes() for _ in range(4)] == [b"a", b"", b"bc", b""]


def test_the_object_is_taken_as_it_is_when_it_is_sent(ends: Any) -> None:
    reader, writer = ends
    value = [1]
    writer.send(value)
    value.append(2)
    assert reader.recv() == [1]


def test_parts_of_a_buffer() -> None:
    a, b = tasuki.Pipe()
    with a, b:
        letters = b"abcdefghij"
        for args in [(), (3,), (3, 2), (10,), (10, 0)]:
            a.send_bytes(letters, *args)
        a.send_bytes(buf=letters, offset=1, size=2)
        assert [b.recv_bytes() for _ in range(6)] == [letters, b"defghij", b"de", b"", b"", b"bc"]
        for args in [(11,), (8, 3), (-1,), (1, -1)]:
            with pytest.raises(ValueError):
                a.send_bytes(letters, *args)
        with pytest.raises(TypeError):
            a.send_bytes("text")
        assert not b.poll()


def test_buffers_of_other_items() -> None:
    a, b = tasuki.Pipe()
    with a, b:
        numbers = array.array("i", range(4))
        a.send_bytes(numbers)
        assert b.recv_bytes() == numbers.tobytes()
        target = array.array("i", [0] * 6)
        a.send_bytes(numbers)
        assert b.recv_bytes_into(target, 2 * target.itemsize) == 16
        assert list(target) == [0, 0, 0, 1, 2, 3]
        a.send_bytes(memoryview(bytearray(b"0123456789"))[2:5])
        assert b.recv_bytes() == b"234"


def test_a_message_too_long_for_its_buffer_is_in_the_exception() -> None:
    a, b = tasuki.Pipe()
    with a, b:
        a.send_bytes(b"too long")
        with pytest.raises(tasuki.BufferTooShort) as caught:
            b.recv_bytes_into(bytearray(3))
        assert caught.value.args == (b"too long",)
        for offset in (-1, 4):
            with pytest.raises(ValueError):
                b.recv_bytes_into(bytearray(3), offset)
        a.send_bytes(b"and on")
        assert b.recv_bytes() == b"and on"


def test_a_message_longer_than_asked_for_ends_the_reading() -> None:
    a, b = tasuki.Pipe()
    with a, b:
        a.send_bytes(b"four")
        assert b.recv_bytes(4) == b"four"
        with pytest.raises(ValueError):
            b.recv_bytes(-1)
        a.send_bytes(b"fives")
        with pytest.raises(OSError, match="bad message length"):
            b.recv_bytes(4)
        assert not b.readable and b.writable and not b.closed
        with pytest.raises(OSError, match="write-only"):
            b.recv()
        b.send("still")
        assert a.recv() == "still"
    reader, writer = tasuki.Pipe(False)
    with reader, writer:
        writer.send_bytes(b"fives")
        with pytest.raises(OSError, match="bad message length"):
            reader.recv_bytes(maxlength=4)
        assert reader.closed


# --- poll


def test_poll_says_what_recv_would_do(ends: Any) -> None:
    reader, writer = ends
    assert reader.poll() is False
    assert reader.poll(-1) is False
    began = time.monotonic()
    assert reader.poll(timeout=0.2) is False
    assert time.monotonic() - began >= 0.19
    writer.send_bytes(b"")
    assert reader.poll() is True and reader.poll(120) is True and reader.poll(None) is True
    assert reader.recv_bytes() == b""
    assert reader.poll() is False
    writer.close()
    assert reader.poll() is True
    with pytest.raises(EOFError):
        reader.recv()


def test_poll_wakes_for_a_message(ends: Any) -> None:
    reader, writer = ends
    with when_asleep(lambda: writer.send("late")):
        assert reader.poll(None) is True
    assert reader.recv() == "late"


# --- misuse


def test_each_end_of_a_one_way_pipe_does_one_thing() -> None:
    reader, writer = tasuki.Pipe(duplex=False)
    with reader, writer:
        assert (reader.readable, reader.writable, writer.readable, writer.writable) == (True, False, False, True)
        for call in (reader.send, reader.send_bytes):
            with pytest.raises(OSError, match="read-only"):
                call(b"x")
        for receive in (writer.recv, writer.recv_bytes, writer.poll, lambda: writer.recv_bytes_into(bytearray(1))):
            with pytest.raises(OSError, match="write-only"):
                receive()


def test_a_closed_end_says_so() -> None:
    a, b = tasuki.Pipe()
    with a as same, b:
        assert same is a and not a.closed
    assert a.closed and b.closed
    a.close()
    uses: list[Any] = [
        a.recv,
        a.recv_bytes,
        a.poll,
        a.fileno,
        lambda: a.send(1),
        lambda: a.send_bytes(b""),
        lambda: a.recv_bytes_into(bytearray()),
    ]
    for use in uses:
        with pytest.raises(OSError, match="handle is closed"):
            use()


def test_what_cannot_be_pickled_is_told_and_the_pipe_goes_on(ends: Any) -> None:
    reader, writer = ends
    for bad in (lambda: 1, threading.Lock(), (x for x in "")):
        with pytest.raises((TypeError, AttributeError, pickle.PicklingError)):
            writer.send(bad)
    assert not reader.poll()
    writer.send("on")
    assert reader.recv() == "on"


def test_wrong_arguments() -> None:
    a, b = tasuki.Pipe()
    with a, b:
        calls: list[Any] = [
            a.send,
            lambda: a.send(1, 2),
            lambda: a.recv(1),
            lambda: a.poll("soon"),
            lambda: a.poll(1, 2),
            lambda: a.poll(wrong=1),
        ]
        for call in calls:
            with pytest.raises(TypeError):
                call()
    with pytest.raises(ValueError):
        Connection(-1)
    with pytest.raises(ValueError):
        Connection(0, False, False)
    with pytest.raises((TypeError, AttributeError)):
        Connection("0")  # type: ignore[arg-type]


def test_a_descriptor_that_is_not_open() -> None:
    connection = Connection(44977608)
    for use in (lambda: connection.send(1), connection.recv, lambda: connection.recv_bytes(3)):
        with pytest.raises(OSError):
            use()
    connection._handle = None  # type: ignore[attr-defined]


# --- the end


def test_the_end_comes_after_the_last_message(ends: Any) -> None:
    reader, writer = ends
    writer.send(1)
    writer.send_bytes(b"2" * 30_000)
    writer.close()
    assert reader.recv() == 1
    assert len(reader.recv_bytes()) == 30_000
    for receive in (reader.recv, reader.recv_bytes, lambda: reader.recv_bytes_into(bytearray(1)), reader.recv):
        with pytest.raises(EOFError):
            receive()


@pytest.mark.parametrize("duplex", [True, False])
def test_a_lost_end_is_a_closed_one(duplex: bool) -> None:
    reader, writer = tasuki.Pipe(duplex)
    del writer
    with pytest.raises(EOFError):
        reader.recv()
    reader, writer = tasuki.Pipe(duplex)
    del reader
    with pytest.raises(BrokenPipeError):
        writer.send(1)


def test_sending_to_nobody_is_a_broken_pipe(ends: Any) -> None:
    reader, writer = ends
    reader.close()
    with pytest.raises(BrokenPipeError):
        writer.send("anybody?")
    with pytest.raises(BrokenPipeError):
        writer.send_bytes(b"x" * 1_000_000)


def test_a_sender_that_waits_for_room_learns_that_nobody_reads(ends: Any) -> None:
    reader, writer = ends
    with pytest.raises((BrokenPipeError, ConnectionResetError)), when_asleep(reader.close):
        writer.send_bytes(bytes(50_000_000))


def _echo(connection: Any) -> None:
    for message in iter(connection.recv_bytes, b"stop"):
        connection.send_bytes(message)
    connection.close()


def test_an_echo_in_another_process(ctx: Any) -> None:
    here, there = ctx.Pipe()
    process = ctx.Process(target=_echo, args=(there,))
    process.start()
    there.close()
    for message in (b"", b"a", b"b" * 100_000, b"c" * 3_000_000):
        here.send_bytes(message)
        assert here.recv_bytes() == message
    here.send({"a": [1]})
    assert here.recv() == {"a": [1]}
    here.send(7)
    assert here.recv() == 7
    here.send_bytes(b"stop")
    with pytest.raises(EOFError):
        here.recv()
    process.join(120)
    assert process.exitcode == 0


def _sleep_with(*connections: Any) -> None:
    connections[0].send("ready")
    time.sleep(1000)


def test_a_killed_peer_is_the_end(ctx: Any) -> None:
    here, there = ctx.Pipe()
    process = ctx.Process(target=_sleep_with, args=(there,))
    process.start()
    there.close()
    assert here.recv() == "ready"
    with pytest.raises(EOFError), when_asleep(process.kill):
        here.recv()
    with pytest.raises(BrokenPipeError):
        here.send("anybody?")
    process.join(120)


def test_a_sender_waiting_for_room_survives_its_reader(ctx: Any) -> None:
    reader, writer = ctx.Pipe(False)
    ready, ready_there = ctx.Pipe(False)
    process = ctx.Process(target=_sleep_with, args=(ready_there, reader))
    process.start()
    reader.close()
    assert ready.recv() == "ready"
    with pytest.raises(BrokenPipeError), when_asleep(process.kill):
        writer.send_bytes(bytes(50_000_000))
    process.join(120)


def test_the_end_waits_for_every_copy(ctx: Any) -> None:
    """Two processes have the writing end: there is no end before both are gone."""
    reader, writer = ctx.Pipe(False)
    processes = [ctx.Process(target=_sleep_with, args=(writer,)) for _ in range(2)]
    for process in processes:
        process.start()
    writer.close()
    assert [reader.recv(), reader.recv()] == ["ready", "ready"]
    processes[0].kill()
    processes[0].join()
    assert reader.poll(0.7) is False
    processes[1].kill()
    with pytest.raises(EOFError):
        reader.recv()
    processes[1].join()


def _send_half(connection: Any) -> None:
    connection.send("whole")
    connection.send_bytes(bytes(50_000_000))


def test_a_sender_killed_in_the_middle_of_a_message(ctx: Any) -> None:
    """What it had sent whole is there; of the rest nothing is mistaken for a message."""
    reader, writer = ctx.Pipe(False)
    process = ctx.Process(target=_send_half, args=(writer,))
    process.start()
    writer.close()
    assert reader.poll(120)
    until_asleep(process.pid)  # nothing fits any more
    process.kill()
    process.join()
    assert reader.recv() == "whole"
    with pytest.raises((EOFError, OSError)):
        reader.recv_bytes()


def test_closing_in_a_forked_child_is_its_own_business() -> None:
    ctx = tasuki.get_context("fork")
    here, there = ctx.Pipe()
    process = ctx.Process(target=there.close)
    process.start()
    process.join(120)
    assert not there.closed
    there.send(1)
    assert here.recv() == 1
    here.close()
    there.close()


def _close_and_wait(closing: Any, ready: Any, go: Any) -> None:
    closing.close()
    ready.set()
    go.wait()


def test_a_child_forked_while_a_thread_receives_can_close() -> None:
    """The thread is not in the child; its copy of the end must be closed there all the same."""
    ctx = tasuki.get_context("fork")
    here, there = ctx.Pipe()
    ready, go = ctx.Event(), ctx.Event()
    receiver = threading.Thread(target=here.recv)
    receiver.start()
    until_asleep(receiver.native_id)
    process = ctx.Process(target=_close_and_wait, args=(here, ready, go))
    process.start()
    assert ready.wait(120)
    there.send("done")
    receiver.join()
    here.close()
    with pytest.raises(BrokenPipeError):
        there.send("the child has no copy")
    go.set()
    process.join(120)
    there.close()


def _close_and_count(closing: Any, report: Any) -> None:
    before = descriptors()
    for each in closing:
        each.close()
    report.send(before - descriptors())


def test_a_child_forked_while_threads_wait_gives_their_connections_back() -> None:
    """As it does without them: their hold on what they use is not in the child."""
    ctx = tasuki.get_context("fork")
    given_back = []
    for waits in (False, True):
        here, there = ctx.Pipe()
        listener = tasuki.connection.Listener(None, "AF_UNIX")
        accepted: list[Any] = []
        accepting = threading.Thread(target=lambda: accepted.append(listener.accept()))
        accepting.start()
        client = tasuki.connection.Client(listener.address)
        accepting.join(120)
        full, filled = ctx.Pipe(False)
        uses = (here.recv, lambda: there.poll(None), client.recv, lambda: filled.send_bytes(b"x" * (1 << 24)))
        threads = [threading.Thread(target=use) for use in uses if waits]
        for thread in threads:
            thread.start()
        until_asleep(*(thread.native_id for thread in threads))
        counted, report = ctx.Pipe(False)
        process = ctx.Process(target=_close_and_count, args=((here, there, client, filled), report))
        process.start()
        given_back.append(counted.recv())
        process.join(120)
        assert process.exitcode == 0
        for end, other in ((there, here), (here, there), (accepted[0], client)):
            end.send("done")
            assert waits or other.recv() == "done"
        if waits:
            assert len(full.recv_bytes()) == 1 << 24
        for thread in threads:
            thread.join(120)
        for each in (here, there, client, accepted[0], listener, full, filled, counted, report):
            each.close()
    assert given_back[0] == given_back[1] > 5


# --- waiting and waking


def _send_slowly(connection: Any, many: int) -> None:
    for number in range(many):
        connection.send(number)
        if number % 50 == 0:
            time.sleep(0.01)
    connection.close()


def test_a_sleeping_receiver_is_woken_each_time(ctx: Any) -> None:
    reader, writer = ctx.Pipe(False)
    process = ctx.Process(target=_send_slowly, args=(writer, 2000))
    process.start()
    writer.close()
    assert list(iter(lambda: _or_none(reader), None)) == list(range(2000))
    process.join(120)


def _or_none(connection: Any) -> Any:
    try:
        return connection.recv()
    except EOFError:
        return None


def test_a_signal_handler_runs_while_recv_waits() -> None:
    reader, writer = tasuki.Pipe(False)

    class Called(Exception):
        pass

    def handler(*_: object) -> None:
        raise Called

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with pytest.raises(Called), struck_asleep(signal.SIGALRM):
            reader.recv()
        with pytest.raises(Called), struck_asleep(signal.SIGALRM):
            reader.poll(None)
        signal.signal(signal.SIGALRM, lambda *_: writer.send("from the handler"))
        with struck_asleep(signal.SIGALRM):
            assert reader.recv() == "from the handler"
    finally:
        signal.signal(signal.SIGALRM, before)
    reader.close()
    writer.close()


def _receive_one(connection: Any) -> None:
    connection.recv()


def test_the_first_send_to_a_reader_that_was_joined_is_an_error(ctx: Any) -> None:
    for _ in range(5):
        reader, writer = ctx.Pipe(False)
        process = ctx.Process(target=_receive_one, args=(reader,))
        process.start()
        reader.close()
        writer.send(1)
        process.join()
        with pytest.raises(BrokenPipeError):
            writer.send(2)
        writer.close()


@pytest.mark.parametrize(("size", "many"), [(4, 8_000), (10, 4_681), (1_000, 220), (219_136, 1)])
def test_as_much_can_be_sent_before_anything_is_received_as_there(ends: Any, size: int, many: int) -> None:
    reader, writer = ends
    for _ in range(many):
        writer.send_bytes(b"x" * size)
    assert all(reader.recv_bytes() == b"x" * size for _ in range(many))


class _Struck(Exception):
    pass


@pytest.fixture
def alarm() -> Any:
    """`with alarm(handler):` calls the handler, of SIGALRM, when what is in the block sleeps; as often as it is used."""
    before = signal.getsignal(signal.SIGALRM)

    def strike(handler: Any) -> Any:
        signal.signal(signal.SIGALRM, handler)
        return struck_asleep(signal.SIGALRM)

    yield strike
    signal.signal(signal.SIGALRM, before)


def test_a_message_that_comes_while_a_handler_raises_is_not_lost(any_ends: Any, alarm: Any) -> None:
    """The handler makes true what is waited for, as another process may do at that moment, and raises."""
    reader, writer = any_ends

    def send_and_raise(*_: object) -> None:
        writer.send("precious")
        raise _Struck

    for wait in (reader.recv, reader.recv_bytes, lambda: reader.poll(None), lambda: reader.poll(1000)):
        with pytest.raises(_Struck), alarm(send_and_raise):
            wait()
        assert reader.poll(0)
        assert reader.recv() == "precious"
        assert not reader.poll(0)


def test_a_handler_receives_before_the_call_that_it_interrupts(any_ends: Any, alarm: Any) -> None:
    reader, writer = any_ends
    seen: list[bytes] = []

    def receive(*_: object) -> None:
        writer.send_bytes(b"first")
        writer.send_bytes(b"second")
        seen.append(reader.recv_bytes())

    with alarm(receive):
        seen.append(reader.recv_bytes())
    assert seen == [b"first", b"second"]


def test_a_connection_in_the_middle_of_a_message_does_not_go_to_another_process(alarm: Any) -> None:
    here, there = socket.socketpair()
    with tasuki.connection.Connection(here.detach()) as connection, there:
        assert pickle.loads(ForkingPickler.dumps(connection)) is not None
        there.send(b"\0\0\0\5wh")

        def interrupt(*_: object) -> None:
            raise _Struck

        with pytest.raises(_Struck), alarm(interrupt):
            connection.recv_bytes()
        with pytest.raises(OSError, match="a part of a message"):
            ForkingPickler.dumps(connection)
        there.send(b"ole")
        assert connection.recv_bytes() == b"whole"


def test_a_handler_that_sends_where_a_send_waits_gets_an_error(any_ends: Any, alarm: Any) -> None:
    reader, writer = any_ends
    refused: list[BaseException] = []

    def send_status(*_: object) -> None:
        try:
            writer.send_bytes(b"status")
        except RuntimeError as error:
            refused.append(error)
        threading.Thread(target=_drain, args=(reader, received), daemon=True).start()

    received: list[bytes] = []
    with alarm(send_status):
        writer.send_bytes(b"x" * 1_000_000)
    until(lambda: len(received) == 1)
    assert len(refused) == 1 and len(received[0]) == 1_000_000


def test_a_handler_that_receives_where_a_receive_is_midway_gets_an_error(any_ends: Any, alarm: Any) -> None:
    reader, writer = any_ends
    refused: list[BaseException] = []
    pid = os.fork()
    if pid == 0:
        try:
            os.kill(os.getppid(), 0)
            writer.send_bytes(b"y" * 3_000_000)
        finally:
            os._exit(0)
    try:
        # It waits for room in the middle of its message.
        until(lambda: reader.poll(0))
        os.kill(pid, signal.SIGSTOP)

        def receive(*_: object) -> None:
            assert not reader.poll(0)
            try:
                reader.recv_bytes()
            except RuntimeError as error:
                refused.append(error)
            os.kill(pid, signal.SIGCONT)

        with alarm(receive):
            assert reader.recv_bytes() == b"y" * 3_000_000
        assert len(refused) == 1
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


def _drain(reader: Any, received: list[bytes]) -> None:
    received.append(reader.recv_bytes())


def test_many_threads_share_an_end() -> None:
    reader, writer = tasuki.Pipe(False)
    senders = [threading.Thread(target=lambda who=who: [writer.send((who, n)) for n in range(500)]) for who in range(3)]
    got: list[Any] = []

    def receive() -> None:
        got.extend(reader.recv() for _ in range(500))

    receivers = [threading.Thread(target=receive) for _ in range(3)]
    for thread in senders + receivers:
        thread.start()
    for thread in senders + receivers:
        thread.join()
    assert sorted(got) == [(who, n) for who in range(3) for n in range(500)]
    reader.close()
    writer.close()


def test_an_end_that_is_closed_while_threads_use_it() -> None:
    """Each of them does what it does or is told, and the other end sees the end."""
    for _ in range(100):
        a, b = tasuki.Pipe()
        told: list[BaseException] = []

        def use(what: Any) -> None:
            try:
                while True:
                    what()
            except (OSError, EOFError) as error:
                told.append(error)

        threads = [
            threading.Thread(target=use, args=(what,))
            for what in (a.poll, lambda: a.send_bytes(b"x"), lambda: a.poll(0.001))
        ]
        for thread in threads:
            thread.start()
        a.close()
        with pytest.raises(EOFError):
            while True:
                b.recv_bytes()
        for thread in threads:
            thread.join()
        assert len(told) == 3
        b.close()


# --- what it is


def test_it_is_a_connection_of_the_standard_library() -> None:
    import multiprocessing.connection

    a, b = tasuki.Pipe()
    with a, b:
        assert isinstance(a, multiprocessing.connection.Connection)
        assert isinstance(a.fileno(), int) and a.fileno() == a.fileno()
    connection, other = tasuki.Pipe(False)
    assert connection.readable and other.writable
    connection.close()
    other.close()
