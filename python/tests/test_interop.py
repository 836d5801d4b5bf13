"""Connections to programs that have only the standard library: both families, both roles, right and wrong keys.

The other interpreters are those on PATH by the names python3.11, python3.12 and so on, and those that TASUKI_STOCK_PYTHONS
lists, separated by colons.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import tasuki
from tasuki.connection import Client, Listener, wait

KEY = b"a key of both"


def _stock_pythons() -> dict[str, str]:
    """An interpreter for each version from 3.11 on: the one that runs the tests too, which is started without tasuki."""
    named = os.environ.get("TASUKI_STOCK_PYTHONS", "").split(":")
    found = [path for path in named if path]
    found += [path for minor in range(11, 20) if (path := shutil.which(f"python3.{minor}"))]
    found.append(sys.executable)
    by_version: dict[str, str] = {}
    for path in found:
        code = "import sys; print('%d.%d' % sys.version_info[:2])"
        done = subprocess.run([path, "-I", "-c", code], capture_output=True, text=True, timeout=120)
        if done.returncode == 0:
            by_version.setdefault(done.stdout.strip(), path)
    return by_version


PYTHONS = _stock_pythons()


@pytest.fixture(params=sorted(PYTHONS))
def stock(request: pytest.FixtureRequest) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a program of a stock interpreter, which must end well."""
    started: list[subprocess.Popen[str]] = []

    def start(source: str, *args: str) -> subprocess.Popen[str]:
        program = textwrap.dedent(source)
        # -S -E: nothing but the standard library, tasuki cannot be imported.
        command = [PYTHONS[request.param], "-S", "-E", "-c", program, *args]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)
        started.append(process)
        return process

    try:
        yield start
        for process in started:
            _, errors = process.communicate(timeout=120)
            assert (process.returncode, errors) == (0, "")
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.communicate()


@pytest.fixture(params=["AF_UNIX", "AF_INET"])
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


#: An echo at both ends of what can go over the wire.
MESSAGES = [None, 1, 2**80, "襷", b"bytes", (1, [2.5, {"a": {3}}]), b"x" * 16_384, b"y" * 3_000_000]

CLIENT = """
    import sys
    from multiprocessing import AuthenticationError
    from multiprocessing.connection import Client
    address, key = eval(sys.argv[1]), eval(sys.argv[2])
    try:
        with Client(address, authkey=key) as connection:
            while (message := connection.recv()) != "stop":
                connection.send(message)
                connection.send_bytes(connection.recv_bytes())
    except AuthenticationError:
        print("refused")
"""

SERVER = """
    import sys
    from multiprocessing import AuthenticationError
    from multiprocessing.connection import Listener
    with Listener(family=sys.argv[1], authkey=eval(sys.argv[2])) as listener:
        print(repr(listener.address), flush=True)
        while True:
            try:
                connection = listener.accept()
                break
            except AuthenticationError:
                print("refused", flush=True)
        with connection:
            while (message := connection.recv()) != "stop":
                connection.send(message)
                connection.send_bytes(connection.recv_bytes())
"""


def _exchange(connection: Any) -> None:
    for message in MESSAGES:
        connection.send(message)
        assert connection.recv() == message
        connection.send_bytes(b"as it is" * 1000)
        assert wait([connection], 60) == [connection]
        assert connection.recv_bytes() == b"as it is" * 1000
    connection.send("stop")
    with pytest.raises(EOFError):
        connection.recv()


@pytest.mark.parametrize("key", [None, b"", KEY])
def test_a_stock_client(stock: Any, family: str, key: bytes | None) -> None:
    with Listener(family=family, authkey=key) as listener:
        stock(CLIENT, repr(listener.address), repr(key))
        with listener.accept() as connection:
            _exchange(connection)


# Not the empty key: the listener of 3.11 takes it for none and asks nothing, so that not even its own client gets on with it.
@pytest.mark.parametrize("key", [None, KEY])
def test_a_stock_server(stock: Any, family: str, key: bytes | None) -> None:
    server = stock(SERVER, family, repr(key))
    address = eval(server.stdout.readline())
    with Client(address, authkey=key) as connection:
        _exchange(connection)


def test_a_stock_client_with_a_wrong_key(stock: Any, family: str) -> None:
    with Listener(family=family, authkey=KEY) as listener:
        client = stock(CLIENT, repr(listener.address), repr(b"wrong"))
        with pytest.raises(tasuki.AuthenticationError):
            listener.accept()
        assert client.stdout.readline() == "refused\n"
        stock(CLIENT, repr(listener.address), repr(KEY))
        with listener.accept() as connection:
            _exchange(connection)


def test_a_wrong_key_at_a_stock_server(stock: Any, family: str) -> None:
    server = stock(SERVER, family, repr(KEY))
    address = eval(server.stdout.readline())
    with pytest.raises(tasuki.AuthenticationError):
        Client(address, authkey=b"wrong")
    assert server.stdout.readline() == "refused\n"
    with Client(address, authkey=KEY) as connection:
        _exchange(connection)


def test_a_manager_of_a_stock_program(stock: Any) -> None:
    """Its server speaks the same wire; the client is a manager here."""
    server = stock(
        """
        import sys
        from multiprocessing.managers import BaseManager
        class Manager(BaseManager): pass
        words = []
        Manager.register("words", callable=lambda: words, exposed=["append", "__len__", "__getitem__"])
        server = Manager(("127.0.0.1", 0), b"key").get_server()
        print(repr(server.address), flush=True)
        import threading
        threading.Thread(target=server.serve_forever, daemon=True).start()
        sys.stdin.readline()
        """
    )
    from tasuki.managers import BaseManager

    class Manager(BaseManager):
        pass

    Manager.register("words")
    manager = Manager(eval(server.stdout.readline()), b"key")
    manager.connect()
    words = manager.words()  # type: ignore[attr-defined]
    words.append("baton")
    assert (len(words), words[0]) == (1, "baton")
    del words
    server.stdin.write("\\n")


def test_there_is_more_than_one_version_to_talk_to() -> None:
    if len(PYTHONS) == 1:
        pytest.skip(f"only Python {next(iter(PYTHONS))} was found; name others in TASUKI_STOCK_PYTHONS")
    assert len(PYTHONS) > 1
