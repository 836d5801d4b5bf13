"""The tests' own waiting fails when what it stands for did not happen."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator

import deadlines
import pytest
from deadlines import struck_asleep, when_asleep


class Struck(Exception):
    pass


@pytest.fixture
def raising() -> Iterator[None]:
    def handler(*_: object) -> None:
        raise Struck

    before = signal.signal(signal.SIGUSR1, handler)
    yield
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.usefixtures("raising")
def test_a_call_that_sleeps_is_struck() -> None:
    with pytest.raises(Struck), struck_asleep(signal.SIGUSR1):
        threading.Event().wait()


@pytest.mark.usefixtures("raising")
def test_a_call_that_comes_back_by_itself_is_not_taken_for_one_that_was_struck() -> None:
    with pytest.raises(AssertionError, match="by itself"):
        with pytest.raises(Struck), struck_asleep(signal.SIGUSR1):
            pass


def test_a_call_that_comes_back_late_is_not_taken_for_one_that_was_woken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "LATE", 0.05)
    woken = threading.Event()
    with pytest.raises(AssertionError, match="much later"), when_asleep(woken.set):
        assert woken.wait(deadlines.WATCHDOG)
        time.sleep(0.1)


def test_an_error_of_what_is_done_meanwhile_comes_out() -> None:
    done = threading.Event()

    def act() -> None:
        done.set()
        raise LookupError("on purpose")

    with pytest.raises(LookupError, match="on purpose"), when_asleep(act):
        assert done.wait(deadlines.WATCHDOG)
