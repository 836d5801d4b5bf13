"""How fast do objects go through a pipe: there and back, and one way, small and large?"""

import os
import subprocess
import sys

import team
from links import Link, pipe, queues
from questions import Question, Side, package

KIB = 1 << 10
MIB = 1 << 20


def round_trip(make, *args):
    def run(times: int) -> tuple[int, float]:
        link: Link = make(*args)

        def ask() -> int:
            (send, receive), result = link.asker, 0
            for number in range(times):
                send(number)
                result += receive()
            return result

        def answer() -> int:
            send, receive = link.answerer
            for _ in range(times):
                send(receive())
            return 0

        seconds, result = team.run(link.context, [ask, answer])
        assert result == times * (times - 1) // 2, "each answer belongs to its question"
        return times, seconds

    return run


def beside_load(run):
    """As `run`, while as many processes as there are processors do nothing but count."""

    def loaded(times: int) -> tuple[int, float]:
        command = [sys.executable, "-c", "while True: pass"]
        busy = [subprocess.Popen(command) for _ in os.sched_getaffinity(0)]
        try:
            return run(times)
        finally:
            for process in busy:
                process.kill()
                process.wait()

    return loaded


def stream(name: str, make_message, read):
    """One way, the end of the pipe that only reads and the one that only writes."""

    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        reader, writer = context.Pipe(duplex=False)

        def write() -> int:
            send = writer.send
            for number in range(times):
                send(make_message(number))
            return 0

        def receive() -> int:
            recv, result = reader.recv, 0
            for _ in range(times):
                result += read(recv())
            return result

        seconds, result = team.run(context, [write, receive])
        assert result == times * (times - 1) // 2, "each message came once and whole"
        return times, seconds

    return run


def stream_of_bytes(name: str, length: int):
    """send_bytes and recv_bytes; each message has its number at both ends."""
    middle = bytes(length - 16)

    def run(times: int) -> tuple[int, float]:
        context = package(name).get_context("fork")
        reader, writer = context.Pipe(duplex=False)

        def write() -> int:
            for number in range(times):
                mark = number.to_bytes(8)
                writer.send_bytes(b"".join((mark, middle, mark)))
            return 0

        def receive() -> int:
            result = 0
            for _ in range(times):
                message = reader.recv_bytes()
                assert len(message) == length and message[:8] == message[-8:]
                result += int.from_bytes(message[:8])
            return result

        seconds, result = team.run(context, [write, receive])
        assert result == times * (times - 1) // 2, "each message came once and whole"
        return times, seconds

    return run


def sides(measure, goal: float | None, *args) -> list[Side]:
    return [
        Side("tasuki", measure("tasuki", *args)),
        Side("multiprocessing", measure("multiprocessing", *args), goal),
    ]


def both(make, goal: float | None, *more) -> list[Side]:
    return [
        Side("tasuki", round_trip(make, "tasuki", *more)),
        Side("multiprocessing", round_trip(make, "multiprocessing", *more), goal),
    ]


def busy(make) -> list[Side]:
    return [
        Side("tasuki", beside_load(round_trip(make, "tasuki"))),
        Side("multiprocessing", beside_load(round_trip(make, "multiprocessing")), 1),
    ]


def pair(number: int) -> tuple[int, str]:
    return number, "name"


QUESTIONS = [
    Question("py-pipe-round-trip", "round trip, Pipe, int", both(pipe, 10)),
    Question("py-pipe-round-trip-busy", "round trip, Pipe, int, beside a load on all processors", busy(pipe)),
    Question("py-queue-round-trip", "round trip, two Queues, int", both(queues, None)),
    Question("py-simplequeue-round-trip", "round trip, two SimpleQueues", both(queues, None, "SimpleQueue")),
    Question("py-pipe-stream-int", "Pipe, int, one way", sides(stream, 15, int, int)),
    Question("py-pipe-stream-tuple", "Pipe, small tuple, one way", sides(stream, None, pair, lambda got: got[0])),
    Question("py-pipe-stream-1k", "Pipe, 1 KiB bytes, one way", sides(stream_of_bytes, None, KIB)),
    Question("py-pipe-stream-1m", "Pipe, 1 MiB bytes, one way", sides(stream_of_bytes, 5, MIB)),
]
