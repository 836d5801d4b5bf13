"""What connections over sockets cost, and the proxies of managers that use them: calls, there and back.

Both sides speak the same wire; each is measured between two processes of its own package.
"""

import time

from questions import Question, Side, package


def answer(connection_module: str, address, pipe) -> None:
    """Listens, says where, and sends back what comes until nothing does."""
    connections = __import__(connection_module, fromlist=["Listener"])
    with connections.Listener(address, authkey=b"key") as listener:
        pipe.send(listener.address)
        with listener.accept() as connection:
            try:
                while True:
                    connection.send(connection.recv())
            except EOFError:
                pass


def round_trip(name: str, address, make_message, read):
    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        here, there = context.Pipe()
        module = f"{name}.connection"
        process = context.Process(target=answer, args=(module, address, there), daemon=True)
        process.start()
        connections = __import__(module, fromlist=["Client"])
        with connections.Client(here.recv(), authkey=b"key") as connection:
            result, start = 0, time.perf_counter()
            for number in range(times):
                connection.send(make_message(number))
                result += read(connection.recv())
            seconds = time.perf_counter() - start
        process.join()
        assert result == times * (times - 1) // 2, "each answer belongs to its question"
        return times, seconds

    return run


def stream(name: str, address, length: int):
    """One way: bytes from the one who connects, who is told their sum at the end."""

    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        here, there = context.Pipe()
        module = f"{name}.connection"
        process = context.Process(target=add_up, args=(module, address, there), daemon=True)
        process.start()
        connections = __import__(module, fromlist=["Client"])
        rest = bytes(length - 8)
        with connections.Client(here.recv(), authkey=b"key") as connection:
            start = time.perf_counter()
            for number in range(times):
                connection.send_bytes(number.to_bytes(8) + rest)
            connection.send_bytes(b"")
            result = connection.recv()
            seconds = time.perf_counter() - start
        process.join()
        assert result == times * (times - 1) // 2, "each message came once and whole"
        return times, seconds

    return run


def add_up(connection_module: str, address, pipe) -> None:
    """Listens, says where, receives until an empty message comes, and sends the sum of the numbers in front."""
    connections = __import__(connection_module, fromlist=["Listener"])
    with connections.Listener(address, authkey=b"key") as listener:
        pipe.send(listener.address)
        with listener.accept() as connection:
            result = 0
            while message := connection.recv_bytes():
                result += int.from_bytes(message[:8])
            connection.send(result)


def proxy(name: str):
    """Assignments to the dict of a manager, and looks at it: an operation is one of both."""

    def run(times: int) -> tuple[int, float]:
        if name == "tasuki":
            package(name).install()
        with package("multiprocessing").Manager() as manager:
            shared, result = manager.dict(), 0
            start = time.perf_counter()
            for number in range(times):
                shared["key"] = number
                result += shared["key"]
            seconds = time.perf_counter() - start
        assert result == times * (times - 1) // 2, "each look finds what was assigned"
        return times, seconds

    return run


def of_length(length: int):
    """What makes a message of so many bytes that says its number, and what reads it."""
    rest = bytes(length - 8)

    def front(message: bytes) -> int:
        assert len(message) == length
        return int.from_bytes(message[:8])

    return lambda number: number.to_bytes(8) + rest, front


def sides(measure, *args) -> list[Side]:
    return [Side("tasuki", measure("tasuki", *args)), Side("multiprocessing", measure("multiprocessing", *args), 1)]


INET = ("127.0.0.1", 0)


def questions(family: str, address) -> list[Question]:
    name, what = f"py-socket-{family.lower()}", f"AF_{family.upper()}"
    trips = [
        Question(f"{name}-{tag}", f"round trip, {what}, {size}", sides(round_trip, address, *of_length(length)))
        for tag, size, length in SIZES
    ]
    streams = [
        Question(f"{name}-stream-{tag}", f"one way, {what}, {size}", sides(stream, address, length))
        for tag, size, length in SIZES
    ]
    return [Question(name, f"round trip, {what}, int", sides(round_trip, address, int, int)), *trips, *streams]


SIZES = [("1k", "1 KiB", 1 << 10), ("64k", "64 KiB", 64 << 10), ("1m", "1 MiB", 1 << 20)]

QUESTIONS = [
    *questions("unix", None),
    *questions("inet", ("127.0.0.1", 0)),
    Question("py-manager-dict", "a manager's dict, assign and look", sides(proxy)),
]
