"""After install() bare descriptors and sockets travel as before: over connections of any kind, to programs of any kind."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from conftest import METHODS

# Sockets put into a queue are handed over by a thread of the sender, over a standard connection.
SOCKETS = """
    import multiprocessing, os, socket, sys
    from multiprocessing.reduction import DupFd

    def child(to_child, to_parent):
        with to_child.get() as sent:
            sent.sendall(b"to child")
        mine, other = socket.socketpair()
        with mine:
            with other:
                to_parent.put(other)
            mine.settimeout(120)
            print(mine.recv(20).decode(), flush=True)
        os.write(to_child.get().detach(), b"through DupFd")

    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        to_child, to_parent = (getattr(multiprocessing, sys.argv[2])() for _ in range(2))
        process = multiprocessing.Process(target=child, args=(to_child, to_parent))
        process.start()
        mine, other = socket.socketpair()
        with mine:
            with other:
                to_child.put(other)
            mine.settimeout(120)
            print(mine.recv(20).decode(), flush=True)
        with to_parent.get() as sent:
            sent.sendall(b"to parent")
        reader, writer = os.pipe()
        to_child.put(DupFd(writer))
        os.close(writer)
        print(os.read(reader, 20).decode())
        process.join(120)
"""


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
@pytest.mark.parametrize("method", METHODS)
def test_sockets_and_descriptors_in_a_queue(run, method: str, kind: str) -> None:
    done = run(SOCKETS, method, kind, m="tasuki")
    assert done.stdout.splitlines() == ["to child", "to parent", "through DupFd"]


# Two programs of their own, either of them installed or not: a descriptor each way, among messages.
END = """
    import multiprocessing, os, sys, tempfile
    from multiprocessing.connection import Client, Listener
    from multiprocessing.reduction import recv_handle, send_handle

    def talk(connection, first):
        with tempfile.TemporaryFile() as file:
            file.write(b"written by the first" if first else b"written by the second")
            file.flush()
            for turn in (first, not first):
                if turn:
                    connection.send("before")
                    send_handle(connection, file.fileno(), None)
                    connection.send("after")
                else:
                    assert connection.recv() == "before"
                    descriptor = recv_handle(connection)
                    assert connection.recv() == "after"
                    print(os.pread(descriptor, 100, 0).decode(), flush=True)
                    os.close(descriptor)

    if __name__ == "__main__":
        if sys.argv[1] == "listen":
            with Listener(sys.argv[2], authkey=b"key") as listener:
                print("listening", flush=True)
                with listener.accept() as connection:
                    talk(connection, True)
        else:
            with Client(sys.argv[2], authkey=b"key") as connection:
                talk(connection, False)
"""


@pytest.mark.parametrize("client", [(), ("-m", "tasuki")], ids=["standard client", "installed client"])
@pytest.mark.parametrize("listener", [(), ("-m", "tasuki")], ids=["standard listener", "installed listener"])
def test_descriptors_between_programs(tmp_path: Path, listener: tuple[str, ...], client: tuple[str, ...]) -> None:
    script = tmp_path / "end.py"
    script.write_text(textwrap.dedent(END))
    address = str(tmp_path / "socket")
    with subprocess.Popen(
        [sys.executable, *listener, script, "listen", address], stdout=subprocess.PIPE, text=True
    ) as first:
        try:
            assert first.stdout is not None and first.stdout.readline() == "listening\n"
            second = subprocess.run(
                [sys.executable, *client, script, "connect", address], capture_output=True, text=True, timeout=60
            )
            assert second.stdout == "written by the first\n", second.stderr
            assert first.communicate(timeout=120)[0] == "written by the second\n"
        finally:
            first.kill()


# What PyTorch does with the memory of a tensor, and what any reducer may do that says `multiprocessing.reduction`.
REDUCER = """
    import multiprocessing, os, sys, tempfile
    from multiprocessing import reduction

    class Storage:
        def __init__(self, descriptor):
            self.descriptor = descriptor

    def rebuild(duplicate):
        return Storage(duplicate.detach())

    def reduce(storage):
        return rebuild, (reduction.DupFd(storage.descriptor),)

    reduction.ForkingPickler.register(Storage, reduce)

    def child(connection, argument):
        received = connection.recv()
        assert os.path.sameopenfile(received.descriptor, argument.descriptor)
        connection.send(received)
        connection.recv()  # a descriptor waits in its sender

    if __name__ == "__main__":
        multiprocessing.set_start_method(sys.argv[1])
        ours, theirs = multiprocessing.Pipe()
        with tempfile.TemporaryFile() as file:
            storage = Storage(file.fileno())
            process = multiprocessing.Process(target=child, args=(theirs, storage))
            process.start()
            ours.send(storage)
            assert os.path.sameopenfile(ours.recv().descriptor, file.fileno())
            ours.send("taken")
            process.join(120)
            print(process.exitcode)
"""


@pytest.mark.parametrize("method", METHODS)
def test_a_reducer_that_sends_descriptors(run, method: str) -> None:
    assert run(REDUCER, method, m="tasuki").stdout.split() == ["0"]
