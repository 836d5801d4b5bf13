"""Quiescence, as a table: whenever all calls have returned, each descriptor says exactly what its object is.

    descriptor                       readable or writable exactly when
    -------------------------------  -------------------------------------------------------
    of a queue's reader, `fileno`    a get would not block: something is there, or it is shut down
    of a queue's writer              a put would not block: there is room, or it is shut down
    of a pipe's end                  a recv would not block: a message, or the end

It is asked in every process that has the object, after random calls of several processes and threads at a time, by a selector
that never calls into us. `TASUKI_SOAK=1` does so many more times.
"""

from __future__ import annotations

import multiprocessing
import os
import queue
import random
import select
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

import tasuki

SOAK = bool(os.environ.get("TASUKI_SOAK"))
REPEATS = 60 if SOAK else 1
#: Objects, and how often each is looked at.
GAMES, ROUNDS = 40, 6
#: Processes beside this one, and threads in each.
OTHERS, THREADS = 2, 2

pytestmark = pytest.mark.timeout(3600 if SOAK else 600)

#: For what must happen: only a hang takes so long.
DEADLINE = 120

LARGE = bytes(100_000)


def _is_ready(descriptor: int, events: int) -> bool:
    poll = select.poll()
    poll.register(descriptor, events)
    return bool(poll.poll(0))


Descriptors = dict[str, tuple[int, int]]


def _is_ready_within(descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))


class Kind:
    def make(self) -> Any:
        raise NotImplementedError

    def act(self, it: Any, dice: random.Random) -> None:
        """A random call that does not block for good."""
        raise NotImplementedError

    def descriptors(self, it: Any) -> Descriptors:
        """What is polled, for what. Asked for once in each process."""
        raise NotImplementedError

    def truth(self, it: Any) -> dict[str, bool]:
        """What each of them should say."""
        raise NotImplementedError


class Queues(Kind):
    def __init__(self, name: str, *args: int, shutdown: bool = False) -> None:
        self.name, self.args, self.shutdown = name, args, shutdown

    def make(self) -> Any:
        return getattr(tasuki, self.name)(*self.args)

    def act(self, it: Any, dice: random.Random) -> None:
        message = LARGE if dice.random() < 0.1 else dice.random()
        try:
            match dice.randrange(8):
                case 0 | 1 | 2:
                    it.put(message, timeout=dice.choice([0, 0.001]))
                case 3 | 4 | 5:
                    it.get(timeout=dice.choice([0, 0.001]))
                case 6:
                    it.get_nowait()
                case _ if self.shutdown and dice.random() < 0.02:
                    it.shutdown()
                case _:
                    it.put_nowait(message)
        except (queue.Empty, queue.Full, tasuki.ShutDown):
            pass

    def descriptors(self, it: Any) -> Descriptors:
        return {
            "to get": (it._reader.fileno(), select.POLLIN),
            "to put": (it._writer.fileno(), select.POLLOUT),
        }

    def truth(self, it: Any) -> dict[str, bool]:
        return {"to get": not it.empty() or it.is_shutdown, "to put": not it.full() or it.is_shutdown}


class SimpleQueues(Kind):
    def make(self) -> Any:
        return tasuki.SimpleQueue()

    def act(self, it: Any, dice: random.Random) -> None:
        if dice.random() < 0.5:
            it.put(dice.random())
        elif it._rlock.acquire(timeout=0.01):
            try:
                if it._reader.poll(dice.choice([0, 0.001])):
                    it.get()
            finally:
                it._rlock.release()

    def descriptors(self, it: Any) -> Descriptors:
        return {"to get": (it._reader.fileno(), select.POLLIN)}

    def truth(self, it: Any) -> dict[str, bool]:
        return {"to get": not it.empty()}


class Pipes(Kind):
    """Both ends are in every process, each with a lock for those who receive, and a count so that no send has to wait."""

    MOST = 200

    def __init__(self, duplex: bool) -> None:
        self.duplex = duplex

    def make(self) -> Any:
        ends = tasuki.Pipe(self.duplex)
        return [(end, other, tasuki.Lock(), tasuki.Value("q", 0)) for end, other in (ends, ends[::-1]) if end.readable]

    def act(self, it: Any, dice: random.Random) -> None:
        receiver, sender, lock, unread = dice.choice(it)
        if dice.random() < 0.5:
            with unread.get_lock():
                if unread.value < self.MOST:
                    unread.value += 1
                    sender.send(dice.random())
        elif lock.acquire(timeout=0.01):
            try:
                if receiver.poll(dice.choice([0, 0.001])):
                    receiver.recv()
                    with unread.get_lock():
                        unread.value -= 1
            finally:
                lock.release()

    def descriptors(self, it: Any) -> Descriptors:
        return {f"end {index}": (direction[0].fileno(), select.POLLIN) for index, direction in enumerate(it)}

    def truth(self, it: Any) -> dict[str, bool]:
        return {f"end {index}": direction[3].value > 0 for index, direction in enumerate(it)}


KINDS: dict[str, Kind] = {
    "Queue": Queues("Queue"),
    "Queue(1)": Queues("Queue", 1),
    "Queue(3)": Queues("Queue", 3),
    "Queue(3), shut down": Queues("Queue", 3, shutdown=True),
    "JoinableQueue(2)": Queues("JoinableQueue", 2),
    "SimpleQueue": SimpleQueues(),
    "duplex Pipe": Pipes(True),
    "Pipe": Pipes(False),
}


def _play(kind: Kind, its: list[Any], meet: Callable[[], Any], seed: int) -> str | None:
    """What one process does; what it found wrong."""
    dice = random.Random(seed)
    for it in its:
        wrong = _game(kind, it, meet, dice)
        if wrong:
            return wrong
    return None


def _game(kind: Kind, it: Any, meet: Callable[[], Any], dice: random.Random) -> str | None:
    # Before anything happened, or in the middle of it.
    asks_late = dice.randrange(3)
    descriptors: Descriptors = {}
    for round_ in range(ROUNDS):
        if round_ == asks_late:
            descriptors = kind.descriptors(it)

        def act(dice: random.Random) -> None:
            for _ in range(dice.randrange(12)):
                kind.act(it, dice)

        # Who does nothing hears only of others.
        count = dice.choice([0, 1, THREADS])
        threads = [threading.Thread(target=act, args=(random.Random(dice.random()),)) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        meet()
        said = {name: _is_ready(*asked) for name, asked in descriptors.items()}
        meet()
        so = kind.truth(it)
        if any(said[name] != so[name] for name in said):
            return f"round {round_}: the descriptors say {said}, and {so} is so"
        meet()
    return None


@pytest.mark.parametrize("repeat", range(REPEATS))
@pytest.mark.parametrize("name", KINDS)
def test_descriptors_say_what_is_so(name: str, repeat: int) -> None:
    kind, seed = KINDS[name], random.randrange(2**32)
    its = [kind.make() for _ in range(GAMES)]
    # The standard library's: what is tried here must not be what the trial relies on.
    barrier = multiprocessing.get_context("fork").Barrier(1 + OTHERS)
    reports = [os.pipe() for _ in range(OTHERS)]
    others = []
    for who, (_, report) in enumerate(reports):
        pid = os.fork()
        if pid == 0:
            signal.alarm(3000)
            text = "it ended by an exception"
            try:
                text = _play(kind, its, lambda: barrier.wait(DEADLINE), seed + 1 + who) or "well"
            except threading.BrokenBarrierError:
                text = "nobody came"
            finally:
                if text != "well":
                    barrier.abort()
                os.write(report, text.encode())
                os._exit(0)
        others.append(pid)
    try:
        wrong = ""
        try:
            wrong = _play(kind, its, lambda: barrier.wait(DEADLINE), seed) or "well"
        except threading.BrokenBarrierError:
            wrong = "nobody came"
        finally:
            if wrong != "well":
                barrier.abort()
        texts = [wrong]
        for reader, _ in reports:
            assert _is_ready_within(reader, DEADLINE), "another process does not end"
            texts.append(os.read(reader, 4096).decode())
        assert texts == ["well"] * (1 + OTHERS), f"seed {seed}"
    finally:
        for pid in others:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        for reader, writer in reports:
            os.close(reader)
            os.close(writer)


@pytest.mark.parametrize("duplex", [True, False])
def test_the_end_shows_in_every_process(duplex: bool) -> None:
    for left in (0, 1, 3):
        reader, writer = tasuki.Pipe(duplex)
        number = reader.fileno()
        for message in range(left):
            writer.send(message)
        gone, told = os.pipe()
        pid = os.fork()
        if pid == 0:
            signal.alarm(3000)
            writer.close()
            # Not told by a call: by the descriptor, of which this process got to know nothing else.
            os.write(told, b"1" if _is_ready_within(number, DEADLINE) else b"0")
            os._exit(0)
        writer.close()
        try:
            assert _is_ready_within(number, DEADLINE)
            assert os.read(gone, 1) == b"1"
            assert [reader.recv() for _ in range(left)] == list(range(left))
            assert _is_ready(number, select.POLLIN)
            with pytest.raises(EOFError):
                reader.recv()
            assert _is_ready(number, select.POLLIN)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(gone)
            os.close(told)
            reader.close()
