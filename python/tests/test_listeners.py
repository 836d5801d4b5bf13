"""Listener and Client: both families, keys, strangers that cost nobody else, and clean ends. Processes of all start methods."""

from __future__ import annotations

import gc
import os
import pickle
import socket
import struct
import threading
from typing import Any

import pytest

import tasuki
from deadlines import struck_asleep, until_asleep
from tasuki.connection import Client, Connection, Listener, wait

FAMILIES = ["AF_UNIX", "AF_INET"]
HELLO = b"#CHALLENGE#"


@pytest.fixture(params=FAMILIES)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def _in_thread(function: Any, *args: Any) -> threading.Thread:
    thread = threading.Thread(target=function, args=args)
    thread.start()
    return thread


def _greet(address: Any, authkey: bytes | None, what: Any) -> None:
    with Client(address, authkey=authkey) as connection:
        connection.send(what)
        assert connection.recv() == [what]


@pytest.mark.parametrize("authkey", [None, b"", b"a key"])
def test_a_connection_to_another_process(ctx: Any, family: str, authkey: bytes | None) -> None:
    with Listener(family=family, authkey=authkey) as listener:
        process = ctx.Process(target=_greet, args=(listener.address, authkey, {"a": 1}))
        process.start()
        with listener.accept() as connection:
            assert connection.recv() == {"a": 1}
            connection.send([{"a": 1}])
            with pytest.raises(EOFError):
                connection.recv()
        process.join(120)
        assert process.exitcode == 0
        if family == "AF_INET":
            assert listener.last_accepted[0] == "127.0.0.1"
        else:
            assert listener.last_accepted == ""


@pytest.mark.parametrize("size", [0, 1, 16_384, 16_385, 5_000_000])
def test_messages_of_every_size(family: str, size: int) -> None:
    with Listener(family=family) as listener, Client(listener.address) as client, listener.accept() as server:
        data = os.urandom(min(size, 1000)) * (size // 1000 + 1)
        thread = _in_thread(client.send_bytes, data[:size])
        assert server.recv_bytes() == data[:size]
        thread.join()


def test_a_wrong_key_is_an_error_on_both_sides_and_the_listener_goes_on(family: str) -> None:
    with Listener(family=family, authkey=b"right") as listener:
        refused: list[BaseException] = []

        def knock(key: bytes) -> None:
            try:
                Client(listener.address, authkey=key).close()
            except tasuki.AuthenticationError as error:
                refused.append(error)

        thread = _in_thread(knock, b"wrong")
        with pytest.raises(tasuki.AuthenticationError):
            listener.accept()
        thread.join()
        assert len(refused) == 1
        thread = _in_thread(_greet, listener.address, b"right", "in")
        with listener.accept() as connection:
            connection.send([connection.recv()])
            thread.join()


def test_silent_and_senseless_strangers_keep_nobody_waiting(family: str) -> None:
    with Listener(family=family, backlog=20, authkey=b"key", handshake_timeout=60) as listener:
        strangers = [socket.socket(getattr(socket, family)) for _ in range(6)]
        for stranger in strangers:
            stranger.connect(listener.address)
        strangers[1].sendall(b"GET / HTTP/1.1\r\n\r\n")
        strangers[2].sendall(struct.pack("!i", 0x7FFFFFFF))
        strangers[3].sendall(struct.pack("!i", -1) + struct.pack("!Q", 2**63))
        strangers[4].sendall(b"\0\0")
        strangers[5].close()
        thread = _in_thread(_greet, listener.address, b"key", "me")
        while True:
            try:
                connection = listener.accept()
                break
            except tasuki.AuthenticationError:
                pass  # a stranger that said something else than a proof
        with connection:
            connection.send([connection.recv()])
            thread.join()
        for stranger in strangers:
            stranger.close()


def test_a_stranger_is_sent_away_when_its_time_is_over(family: str) -> None:
    with Listener(family=family, authkey=b"key", handshake_timeout=0.3) as listener:
        stranger = socket.socket(getattr(socket, family))
        stranger.connect(listener.address)
        ended: list[bytes] = []
        reading = _in_thread(lambda: ended.append(_read_to_end(stranger)))

        def later() -> None:
            reading.join()  # when the stranger was sent away, and not before
            while True:
                try:
                    return _greet(listener.address, b"key", "me")
                except (tasuki.AuthenticationError, OSError, EOFError):
                    pass  # sent away too: on a loaded machine it takes longer to prove that one has the key

        greeting = _in_thread(later)
        while greeting.is_alive():
            try:
                with listener.accept() as connection:
                    connection.send([connection.recv()])
                    greeting.join()
            except (OSError, EOFError):
                pass  # it had given up just before
        assert HELLO in ended[0]
        stranger.close()


def _read_to_end(sock: socket.socket) -> bytes:
    data = b""
    try:
        while more := sock.recv(1000):
            data += more
    except ConnectionResetError:
        pass
    return data


def test_what_is_sent_right_behind_the_handshake_is_not_lost(family: str) -> None:
    """The client is gone before it is accepted."""
    for _ in range(30):
        with Listener(family=family, authkey=b"key") as listener:

            def send_and_go() -> None:
                with Client(listener.address, authkey=b"key") as connection:
                    connection.send("last words")

            thread = _in_thread(send_and_go)
            with listener.accept() as connection:
                assert connection.recv() == "last words"
            thread.join()


# --- limits


def test_a_message_beyond_the_limit_ends_the_receiving(family: str) -> None:
    with Listener(family=family, max_message=100) as listener, Client(listener.address) as client:
        with listener.accept() as server:
            client.send_bytes(bytes(100))
            assert len(server.recv_bytes()) == 100
            client.send_bytes(bytes(101))
            with pytest.raises(OSError, match="bad message length"):
                server.recv_bytes()
            assert not server.readable


@pytest.mark.parametrize("lie", [struct.pack("!i", -5), struct.pack("!i", -1) + struct.pack("!Q", 2**64 - 1)])
def test_a_forged_length_is_an_error(family: str, lie: bytes) -> None:
    with Listener(family=family, max_message=1 << 40) as listener:
        stranger = socket.socket(getattr(socket, family))
        stranger.connect(listener.address)
        with listener.accept() as connection:
            stranger.sendall(lie)
            with pytest.raises(OSError, match="bad message length"):
                connection.recv()
        stranger.close()


def test_a_peer_that_ends_in_the_middle_of_a_message(family: str) -> None:
    with Listener(family=family) as listener:
        stranger = socket.socket(getattr(socket, family))
        stranger.connect(listener.address)
        with listener.accept() as connection:
            stranger.sendall(struct.pack("!i", 100) + b"half")
            stranger.close()
            with pytest.raises(OSError, match="got end of file during message"):
                connection.recv()


def test_a_peer_that_stops_in_the_middle_of_a_message(family: str) -> None:
    with Listener(family=family, message_timeout=0.2) as listener:
        stranger = socket.socket(getattr(socket, family))
        stranger.connect(listener.address)
        with listener.accept() as connection:
            threading.Timer(0.4, stranger.sendall, [struct.pack("!i", 100) + b"half"]).start()
            with pytest.raises(OSError, match="not finished"):
                connection.recv()
        stranger.close()


# --- addresses and ends


def test_an_address_is_taken_once(family: str) -> None:
    with Listener(family=family) as listener:
        with pytest.raises(OSError):
            Listener(listener.address, family)


def test_nobody_listens(family: str) -> None:
    listener = Listener(family=family)
    address = listener.address
    listener.close()
    listener.close()
    with pytest.raises((ConnectionRefusedError, FileNotFoundError)):
        Client(address)
    with pytest.raises(OSError, match="listener is closed"):
        listener.accept()
    if family == "AF_UNIX":
        assert not os.path.exists(address)
    else:
        Listener(address).close()  # the port is free again at once


def test_a_lost_listener_leaves_no_file() -> None:
    listener = Listener(family="AF_UNIX")
    address = listener.address
    assert os.path.exists(address)
    del listener
    gc.collect()
    assert not os.path.exists(address)


def test_an_end_of_a_program_leaves_no_file(run: Any) -> None:
    done = run("from tasuki.connection import Listener\nkept = Listener()\nprint(kept.address)")
    assert not os.path.exists(done.stdout.strip())


def test_a_child_does_not_take_the_file_away() -> None:
    ctx = tasuki.get_context("fork")
    with Listener() as listener:
        process = ctx.Process(target=listener.close)
        process.start()
        process.join(120)
        assert process.exitcode == 0
        with Client(listener.address), listener.accept():
            pass


def test_an_abstract_name() -> None:
    with Listener(f"\0tasuki-{os.getpid()}") as listener, Client(listener.address) as client:
        with listener.accept() as server:
            client.send(1)
            assert server.recv() == 1
    with Client(f"\0tasuki-{os.getpid()}") if False else Listener() as other:
        assert other.address


def test_addresses_and_families_that_do_not_exist() -> None:
    for bad in ("AF_PIPE", "AF_MOON"):
        with pytest.raises(ValueError):
            Listener(family=bad)
    with pytest.raises(ValueError):
        Listener(r"\\.\test")
    with pytest.raises(TypeError):
        Listener(authkey="text")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Client("/nowhere", authkey="text")  # type: ignore[arg-type]
    with pytest.raises(FileNotFoundError):
        Client("/nowhere/at/all")


def test_a_signal_handler_runs_while_accept_waits() -> None:
    import signal

    def handler(*_: object) -> None:
        raise InterruptedError("by the handler")

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with Listener() as listener:
            with pytest.raises(InterruptedError, match="by the handler"), struck_asleep(signal.SIGALRM):
                listener.accept()
    finally:
        signal.signal(signal.SIGALRM, before)


# --- connections over descriptors, and connections that travel


def test_a_connection_over_any_descriptor() -> None:
    reader, writer = os.pipe()
    with Connection(reader, writable=False) as receiving, Connection(writer, readable=False) as sending:
        assert (receiving.fileno(), sending.fileno()) == (reader, writer)
        sending.send("through a pipe")
        assert os.read(reader, 4) == struct.pack("!i", len(pickle.dumps("through a pipe", 4)))
        assert pickle.loads(os.read(reader, 100)) == "through a pipe"
        assert wait([receiving], 0) == []
        sending.send_bytes(b"x")
        assert wait([receiving], 0) == [receiving]
        assert receiving.recv_bytes() == b"x"
    with pytest.raises(OSError):
        os.fstat(reader)


def test_a_forgotten_descriptor_stays_open() -> None:
    reader, writer = os.pipe()
    connection = Connection(reader, writable=False)
    connection._handle = None
    assert connection.closed
    del connection
    os.fstat(reader)
    os.close(reader)
    os.close(writer)


def _answer(connection: Any) -> None:
    connection.send("from the child")
    connection.close()


def test_a_connection_as_an_argument(ctx: Any, family: str) -> None:
    with Listener(family=family) as listener, Client(listener.address) as client:
        server = listener.accept()
        process = ctx.Process(target=_answer, args=(server,))
        process.start()
        server.close()
        assert client.recv() == "from the child"
        with pytest.raises(EOFError):
            client.recv()
        process.join(120)


def _accept_and_hand_over(address_to: Any, connection_to: Any, family: str) -> None:
    with Listener(family=family) as listener:
        address_to.put(listener.address)
        with listener.accept() as connection:
            connection_to.send(connection)
    connection_to.recv()  # until the other one has it


def test_a_connection_through_a_connection(ctx: Any, family: str) -> None:
    """As in the standard library, whose sender must live until it was received."""
    addresses = ctx.Queue()
    with Listener(family=family) as listener, Client(listener.address) as here:
        there = listener.accept()
        process = ctx.Process(target=_accept_and_hand_over, args=(addresses, there, family))
        process.start()
        there.close()
        client = Client(addresses.get(timeout=120))
        received = here.recv()
        client.send("for whoever has it now")
        assert received.recv() == "for whoever has it now"
        here.send(None)
        process.join(120)
        received.close()
        client.close()


def test_a_closed_connection_of_a_waiting_thread(family: str) -> None:
    """Its peer sees the end at once; the thread that waits is told."""
    with Listener(family=family) as listener, Client(listener.address) as client:
        server = listener.accept()
        told: list[BaseException] = []

        def receive() -> None:
            try:
                server.recv()
            except (OSError, EOFError) as error:
                told.append(error)

        thread = _in_thread(receive)
        until_asleep(thread.native_id)
        server.close()
        with pytest.raises(EOFError):
            client.recv()
        thread.join()
        assert len(told) == 1
