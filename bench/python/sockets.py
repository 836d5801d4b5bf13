"""What connections over sockets cost, and the proxies of managers that use them: calls, there and back.

Both sides speak the same wire; each is measured between two processes of its own package.
"""

import time

from questions import Question, Side, package

MIB = 1 << 20


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


def large(number: int) -> bytes:
    return number.to_bytes(8) + bytes(MIB - 8)


def front(message: bytes) -> int:
    assert len(message) == MIB
    return int.from_bytes(message[:8])


def sides(measure, *args) -> list[Side]:
    return [Side("tasuki", measure("tasuki", *args)), Side("multiprocessing", measure("multiprocessing", *args), 1)]


INET = ("127.0.0.1", 0)

QUESTIONS = [
    Question("py-socket-unix", "round trip, AF_UNIX, int", sides(round_trip, None, int, int)),
    Question("py-socket-inet", "round trip, AF_INET, int", sides(round_trip, INET, int, int)),
    Question("py-socket-unix-1m", "round trip, AF_UNIX, 1 MiB", sides(round_trip, None, large, front)),
    Question("py-socket-inet-1m", "round trip, AF_INET, 1 MiB", sides(round_trip, INET, large, front)),
    Question("py-manager-dict", "a manager's dict, assign and look", sides(proxy)),
]
