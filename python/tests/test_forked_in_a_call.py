"""A signal handler forks in the middle of a call that waits, and returns in the child too: two processes are in one call then.

The child is what it is when it makes the call itself: it waits with its own identity, has what it gets, and what its parent holds or
announced stays the parent's.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import BrokenBarrierError
from typing import Any

import deadlines
import pytest

import tasuki

CTX = tasuki.get_context("fork")
#: More than a pipe has room for.
LARGE = bytes(range(256)) * 4096


class Raised(Exception):
    """By the handler, in the child."""


class Two:
    """A process in a call, and the child that its handler forked there."""

    def __init__(self, call: Callable[[], object], child_raises: bool = False) -> None:
        self.told, self._tell = os.pipe()
        self._held, self._hold = os.pipe()
        self.parent = os.fork()
        if self.parent == 0:
            self._work(call, child_raises)
        deadlines.until_asleep(self.parent)
        os.kill(self.parent, signal.SIGUSR1)
        news = [self._read()]
        while news[-1][0] != "forked":  # a child that raises may be faster
            news.append(self._read())
        self.child = int(news.pop()[1])
        self._news = news

    def _work(self, call: Callable[[], object], child_raises: bool) -> None:
        """Makes the call, tells how it ended, and ends without a release or a close when it is let go."""
        who = "parent"

        def handler(*_: object) -> None:
            nonlocal who
            child = os.fork()
            if child:
                self._say("forked", child)
            else:
                who = "child"
                if child_raises:
                    raise Raised

        try:
            os.close(self._hold)
            signal.alarm(2 * deadlines.WATCHDOG)  # nobody outlives the test for long
            signal.signal(signal.SIGUSR1, handler)
            try:
                result = call()
            except Exception as error:
                result = type(error).__name__
            self._say(who, result)
            os.read(self._held, 1)
        finally:
            os._exit(0)

    def _say(self, who: str, what: object) -> None:
        os.write(self._tell, f"{who} {what}\n".encode())

    def next(self) -> tuple[str, str]:
        """Who has returned from the call, and with what."""
        return self._news.pop(0) if self._news else self._read()

    def _read(self) -> tuple[str, str]:
        poll = select.poll()
        poll.register(self.told, select.POLLIN)
        assert poll.poll(deadlines.WATCHDOG * 1000), "nobody returns from the call"
        line = b""
        while not line.endswith(b"\n"):
            line += os.read(self.told, 1)
        who, _, what = line.decode().rstrip("\n").partition(" ")
        return who, what

    def has_news(self) -> bool:
        poll = select.poll()
        poll.register(self.told, select.POLLIN)
        return bool(self._news or poll.poll(0))

    def both(self) -> dict[str, str]:
        return dict([self.next(), self.next()])

    def both_wait(self) -> None:
        deadlines.until_asleep(self.parent, self.child)
        assert not self.has_news()

    def kill(self, who: str) -> None:
        os.kill({"parent": self.parent, "child": self.child}[who], signal.SIGKILL)

    def close(self) -> None:
        for pid in (self.child, self.parent):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(self.parent, 0)
        for descriptor in (self.told, self._tell, self._held, self._hold):
            os.close(descriptor)


@contextmanager
def two(call: Callable[[], object], child_raises: bool = False) -> Iterator[Two]:
    both = Two(call, child_raises)
    try:
        yield both
    finally:
        both.close()


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_a_lock_is_the_one_s_who_got_it(kind: str) -> None:
    lock = getattr(CTX, kind)()
    lock.acquire()
    with two(lock.acquire) as both:
        both.both_wait()
        lock.release()
        first, result = both.next()
        assert result == "True"
        both.kill(first)
        second, result = both.next()
        assert {first, second} == {"parent", "child"}
        assert result == "OwnerDied"


def test_a_permit_is_the_one_s_who_got_it() -> None:
    semaphore = CTX.Semaphore(1)
    semaphore.acquire()
    with two(semaphore.__enter__) as both:
        both.both_wait()
        semaphore.release()
        first, _ = both.next()
        both.kill(first)
        second, _ = both.next()
        assert {first, second} == {"parent", "child"}


@pytest.mark.parametrize("kind", ["Queue", "SimpleQueue", "JoinableQueue"])
def test_each_gets_a_message(kind: str) -> None:
    queue = getattr(CTX, kind)()
    with two(queue.get) as both:
        both.both_wait()
        queue.put(1)
        queue.put(2)
        assert sorted(both.both().values()) == ["1", "2"]


def test_a_task_is_the_one_s_who_took_it() -> None:
    queue = CTX.JoinableQueue()
    with two(queue.get) as both:
        both.both_wait()
        queue.put(1)
        queue.put(2)
        both.both()
        both.kill("child")
        with pytest.raises(tasuki.OwnerDied, match="1 unfinished task$") as caught:
            queue.join()
        assert caught.value.pid == both.child


def test_each_puts_its_message() -> None:
    queue = CTX.Queue(1)
    queue.put(0)
    with two(lambda: queue.put(1)) as both:
        both.both_wait()
        assert [queue.get(timeout=deadlines.WATCHDOG) for _ in range(3)] == [0, 1, 1]
        assert both.both() == {"parent": "None", "child": "None"}


def test_each_sends_its_message_whole() -> None:
    reader, writer = CTX.Pipe(False)
    with two(lambda: writer.send_bytes(LARGE)) as both:
        both.both_wait()
        for _ in range(2):
            assert reader.poll(deadlines.WATCHDOG)
            assert reader.recv_bytes() == LARGE
        assert both.both() == {"parent": "None", "child": "None"}
        assert not reader.poll()


def test_a_child_that_leaves_does_not_give_its_parent_s_turn_back() -> None:
    reader, writer = CTX.Pipe(False)
    with two(lambda: writer.send_bytes(LARGE), child_raises=True) as both:
        assert both.next() == ("child", "Raised")
        deadlines.until_asleep(both.parent)
        assert reader.recv_bytes() == LARGE
        assert both.next() == ("parent", "None")


def test_the_message_that_the_parent_is_in_the_middle_of_is_the_parent_s() -> None:
    reader, writer = CTX.Pipe(False)

    def send() -> None:
        writer.send_bytes(LARGE)
        writer.send_bytes(b"next")

    sender = CTX.Process(target=send)
    sender.start()
    assert sender.pid is not None
    deadlines.until_asleep(sender.pid)
    os.kill(sender.pid, signal.SIGSTOP)
    deadlines.until(lambda: deadlines.state(sender.pid) == "T")
    with two(lambda: len(reader.recv_bytes())) as both:
        both.both_wait()
        os.kill(sender.pid, signal.SIGCONT)
        assert both.both() == {"parent": str(len(LARGE)), "child": "4"}
    sender.join()


def test_both_wait_for_an_event() -> None:
    event = CTX.Event()
    with two(event.wait) as both:
        both.both_wait()
        event.set()
        assert both.both() == {"parent": "True", "child": "True"}


def _conditions() -> list[Any]:
    return [CTX.Condition(), CTX.Condition(CTX.Lock()), CTX.Condition(CTX.Semaphore(1))]


@pytest.mark.parametrize("which", range(3), ids=["its own lock", "a lock", "another"])
def test_both_wait_to_be_notified(which: int) -> None:
    condition = _conditions()[which]

    def wait() -> bool:
        with condition:
            return condition.wait()

    with two(wait) as both:
        both.both_wait()
        for _ in range(2):
            with condition:
                condition.notify()
        assert both.both() == {"parent": "True", "child": "True"}


@pytest.mark.parametrize("which", range(3), ids=["its own lock", "a lock", "another"])
def test_a_child_that_leaves_does_not_give_its_parent_s_seat_up(which: int) -> None:
    condition = _conditions()[which]

    def wait() -> bool:
        with condition:
            return condition.wait()

    with two(wait, child_raises=True) as both:
        assert both.next() == ("child", "Raised")
        deadlines.until_asleep(both.parent)
        assert not both.has_news()
        with condition:
            condition.notify()
        assert both.next() == ("parent", "True")


def test_both_come_to_a_barrier() -> None:
    barrier = CTX.Barrier(3)
    with two(barrier.wait) as both:
        both.both_wait()
        deadlines.until(lambda: barrier.n_waiting == 2)
        mine = barrier.wait(deadlines.WATCHDOG)
        assert sorted([mine, *map(int, both.both().values())]) == [0, 1, 2]


def test_a_child_that_leaves_a_barrier_leaves_its_parent_there() -> None:
    barrier = CTX.Barrier(2)
    with two(barrier.wait, child_raises=True) as both:
        assert both.next() == ("child", "Raised")
        assert barrier.n_waiting == 1
        try:
            barrier.wait(deadlines.WATCHDOG)
        except BrokenBarrierError:
            pytest.fail("the child took its parent's place away")
        assert both.next()[0] == "parent"
