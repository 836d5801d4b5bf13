"""The crash table: which primitive, killed at which moment, and what the survivors see, with every start method.

    killed while      Lock, RLock, Condition's lock   Semaphore, Bounded-    Event     Barrier
    ----------------  ------------------------------  ---------------------  --------  ---------------------------
    inside            OwnerDied, once; then it goes   a warning, once, and   -         BrokenBarrierError for all,
                      on                              the permit             -         until reset()
    waiting           nothing                         nothing                nothing   as above
    entering,         nothing, or as inside, if it    as inside or nothing   nothing   as above
    leaving           had got that far

A victim says in shared memory how far it is, so after its death it is known which of these it must have been. Each
survivor waits when the victim is killed and must have its answer; how soon is not judged here, only whether it hangs.
`TASUKI_STORM_ROUNDS` is how often victims are killed on their way in and out.
"""

from __future__ import annotations

import os
import random
import threading
import time
import warnings
from typing import Any

import pytest

import tasuki
from deadlines import WATCHDOG, until, until_asleep

pytestmark = pytest.mark.timeout(3600)

ROUNDS = int(os.environ.get("TASUKI_STORM_ROUNDS", "2"))

# How far a victim is.
OUTSIDE, ENTERING, INSIDE, LEAVING = range(4)

GOES_ON = "goes on"


class Locks:
    """Lock and RLock, and whatever else one owner at a time has."""

    told = "OwnerDied"

    def __init__(self, name: str) -> None:
        self.name = name

    def make(self, ctx: Any) -> Any:
        return getattr(ctx, self.name)()

    def enter(self, it: Any) -> None:
        it.__enter__()

    def leave(self, it: Any) -> None:
        it.__exit__(None, None, None)

    def ask(self, it: Any) -> str:
        """What a survivor sees."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                with it:
                    pass
            except tasuki.OwnerDied as error:
                return type(error).__name__
        return type(caught[0].message).__name__ if caught else GOES_ON

    def seen(self, how_far: int) -> set[str]:
        """What a survivor must see of a victim that was killed when it was so far."""
        return {OUTSIDE: {GOES_ON}, INSIDE: {self.told}}.get(how_far, {GOES_ON, self.told})


class Semaphores(Locks):
    """Semaphores whose only permit is taken by `with`."""

    told = "OwnerDiedWarning"


PRIMITIVES = {name: Locks(name) for name in ("Lock", "RLock", "Condition")} | {
    name: Semaphores(name) for name in ("Semaphore", "BoundedSemaphore")
}


class Survivor:
    """A thread that asks, and when it got which answer."""

    def __init__(self, ask: Any, *args: Any) -> None:
        self.answer: str | None = None
        self._thread = threading.Thread(target=self._run, args=(ask, *args), daemon=True)
        self._thread.start()

    def _run(self, ask: Any, *args: Any) -> None:
        self.answer = ask(*args)

    def until_asleep(self) -> None:
        """Waits until it waits, with what it waits for being out of its reach."""
        until_asleep(self._thread.native_id)
        assert self.answer is None

    def told(self) -> str | None:
        """What it got; nothing if it hangs."""
        self._thread.join(WATCHDOG)
        return self.answer


def _start(ctx: Any, victim: Any, *args: Any) -> tuple[Any, Any]:
    """A victim, and where it says how far it is."""
    how_far = ctx.RawValue("i", OUTSIDE)
    process = ctx.Process(target=victim, args=(*args, how_far), daemon=True)
    process.start()
    return process, how_far


def _reaches(how_far: Any, wanted: int) -> None:
    deadline = time.monotonic() + WATCHDOG
    while how_far.value != wanted:  # without a sleep, in which it would be passed by
        assert time.monotonic() < deadline, "the victim never got there"


def _kill(process: Any) -> None:
    process.kill()
    process.join(WATCHDOG)
    assert process.exitcode == -9


# --- locks and semaphores


def _stay(name: str, it: Any, how_far: Any) -> None:
    how_far.value = ENTERING
    PRIMITIVES[name].enter(it)
    how_far.value = INSIDE
    time.sleep(1000)


def _come_and_go(name: str, it: Any, how_far: Any) -> None:
    primitive = PRIMITIVES[name]
    while True:
        how_far.value = ENTERING
        primitive.enter(it)
        how_far.value = INSIDE
        how_far.value = LEAVING
        primitive.leave(it)
        how_far.value = OUTSIDE


@pytest.fixture(params=PRIMITIVES)
def primitive(request: pytest.FixtureRequest) -> Any:
    return PRIMITIVES[request.param]


def _goes_on(primitive: Any, it: Any) -> None:
    """Nobody is told anything any more."""
    for _ in range(2):
        assert Survivor(primitive.ask, it).told() == GOES_ON


def test_killed_inside(ctx: Any, primitive: Any) -> None:
    it = primitive.make(ctx)
    victim, how_far = _start(ctx, _stay, primitive.name, it)
    _reaches(how_far, INSIDE)
    survivor = Survivor(primitive.ask, it)
    survivor.until_asleep()
    _kill(victim)
    assert survivor.told() == primitive.told
    _goes_on(primitive, it)


def test_killed_waiting(ctx: Any, primitive: Any) -> None:
    it = primitive.make(ctx)
    primitive.enter(it)
    victim, how_far = _start(ctx, _stay, primitive.name, it)
    _reaches(how_far, ENTERING)
    survivor = Survivor(primitive.ask, it)
    survivor.until_asleep()
    until_asleep(victim.pid)
    _kill(victim)
    primitive.leave(it)
    assert survivor.told() == GOES_ON
    _goes_on(primitive, it)


@pytest.mark.parametrize("moment", [ENTERING, LEAVING], ids=["entering", "leaving"])
def test_killed_on_its_way(ctx: Any, primitive: Any, moment: int) -> None:
    rng = random.Random(moment)
    it = primitive.make(ctx)
    for _ in range(ROUNDS):
        victim, how_far = _start(ctx, _come_and_go, primitive.name, it)
        _reaches(how_far, LEAVING)
        time.sleep(rng.random() * 0.01)
        _reaches(how_far, moment)
        _kill(victim)
        assert Survivor(primitive.ask, it).told() in primitive.seen(how_far.value)
        _goes_on(primitive, it)


# --- those who wait for a condition


def _wait_for_notice(condition: Any, how_far: Any) -> None:
    with condition:
        how_far.value = INSIDE
        condition.wait()


def _notice(condition: Any, waiting: Any) -> str:
    with condition:
        waiting.set()
        condition.wait()
    return GOES_ON


def test_a_killed_waiter_takes_no_notice_from_others(ctx: Any) -> None:
    condition, waiting = ctx.Condition(), threading.Event()
    victim, how_far = _start(ctx, _wait_for_notice, condition)
    _reaches(how_far, INSIDE)
    survivor = Survivor(_notice, condition, waiting)
    assert waiting.wait(WATCHDOG)
    # The lock is free again when the victim waits, and after it the survivor.
    with condition:
        pass
    _kill(victim)
    with condition:
        condition.notify()
    assert survivor.told() == GOES_ON


def _wait_and_notify(condition: Any, how_far: Any) -> None:
    while True:
        how_far.value = ENTERING
        with condition:
            how_far.value = INSIDE
            condition.notify_all()
            condition.wait(0.001)
            how_far.value = LEAVING
        how_far.value = OUTSIDE


def _wait_a_little(condition: Any) -> str:
    for _ in range(3):
        try:
            with condition:
                condition.notify_all()
                condition.wait(0.01)
        except tasuki.OwnerDied:
            continue
    return GOES_ON


@pytest.mark.parametrize("moment", [ENTERING, INSIDE, LEAVING], ids=["entering", "waiting", "leaving"])
def test_killed_on_its_way_into_a_wait(ctx: Any, moment: int) -> None:
    rng = random.Random(moment)
    condition = ctx.Condition()
    for _ in range(ROUNDS):
        victim, how_far = _start(ctx, _wait_and_notify, condition)
        _reaches(how_far, LEAVING)
        time.sleep(rng.random() * 0.01)
        _reaches(how_far, moment)
        _kill(victim)
        assert Survivor(_wait_a_little, condition).told() == GOES_ON
        waiting = threading.Event()
        survivor = Survivor(_notice, condition, waiting)
        assert waiting.wait(WATCHDOG)
        with condition:
            condition.notify()
        assert survivor.told() == GOES_ON


# --- Event


def _wait_for_event(event: Any, how_far: Any) -> None:
    how_far.value = ENTERING
    event.wait()


def _set_and_clear(event: Any, how_far: Any) -> None:
    while True:
        how_far.value = ENTERING
        event.set()
        how_far.value = INSIDE
        how_far.value = LEAVING
        event.clear()
        how_far.value = OUTSIDE


def _event(event: Any) -> str:
    event.wait()
    return GOES_ON


def test_killed_waiting_for_an_event(ctx: Any) -> None:
    event = ctx.Event()
    victim, how_far = _start(ctx, _wait_for_event, event)
    _reaches(how_far, ENTERING)
    survivor = Survivor(_event, event)
    survivor.until_asleep()
    until_asleep(victim.pid)
    _kill(victim)
    assert survivor.answer is None and not event.is_set()
    event.set()
    assert survivor.told() == GOES_ON


@pytest.mark.parametrize("moment", [ENTERING, INSIDE, LEAVING], ids=["entering", "inside", "leaving"])
def test_killed_while_it_sets_an_event(ctx: Any, moment: int) -> None:
    rng = random.Random(moment)
    event = ctx.Event()
    for _ in range(ROUNDS):
        victim, how_far = _start(ctx, _set_and_clear, event)
        _reaches(how_far, LEAVING)
        time.sleep(rng.random() * 0.01)
        _reaches(how_far, moment)
        _kill(victim)
        if how_far.value in (OUTSIDE, INSIDE):
            assert event.is_set() == (how_far.value == INSIDE)
        event.clear()
        survivor = Survivor(_event, event)
        event.set()
        assert survivor.told() == GOES_ON
        event.clear()


# --- Barrier


def _act(how_far: Any) -> None:
    how_far.value = INSIDE
    time.sleep(1000)


class _Action:
    """A barrier's action that lasts, and says so. (The victim's barrier has it: it is the last to come.)"""

    def __init__(self, how_far: Any) -> None:
        self.how_far = how_far

    def __call__(self) -> None:
        _act(self.how_far)


def _meet(barrier: Any, how_far: Any) -> None:
    how_far.value = ENTERING
    barrier.wait()


def _meet_again_and_again(barrier: Any, how_far: Any) -> None:
    while True:
        how_far.value = ENTERING
        barrier.wait()
        how_far.value = LEAVING


def _at_barrier(barrier: Any) -> str:
    try:
        while True:
            barrier.wait()
    except threading.BrokenBarrierError:
        return "BrokenBarrierError"


def _meets_again(barrier: Any) -> None:
    """After a reset the survivors use it among themselves."""
    assert barrier.broken
    barrier.reset()
    thread = threading.Thread(target=barrier.wait)
    thread.start()
    barrier.wait(WATCHDOG)
    thread.join(WATCHDOG)
    assert not barrier.broken


def test_killed_waiting_at_a_barrier(ctx: Any) -> None:
    barrier = ctx.Barrier(3)
    victim, how_far = _start(ctx, _meet, barrier)
    _reaches(how_far, ENTERING)
    survivor = Survivor(_at_barrier, barrier)
    until(lambda: barrier.n_waiting == 2)
    _kill(victim)
    assert survivor.told() == "BrokenBarrierError"
    barrier.reset()
    assert not barrier.broken


def test_killed_in_a_barriers_action(ctx: Any) -> None:
    acting = ctx.RawValue("i", OUTSIDE)
    barrier = ctx.Barrier(2, _Action(acting))
    survivor = Survivor(_at_barrier, barrier)
    until(lambda: barrier.n_waiting == 1)
    victim, _ = _start(ctx, _meet, barrier)
    _reaches(acting, INSIDE)
    assert survivor.answer is None
    _kill(victim)
    assert survivor.told() == "BrokenBarrierError"
    assert barrier.broken


@pytest.mark.parametrize("moment", [ENTERING, LEAVING], ids=["entering", "leaving"])
def test_killed_on_its_way_through_a_barrier(ctx: Any, moment: int) -> None:
    rng = random.Random(moment)
    barrier = ctx.Barrier(2)
    for _ in range(ROUNDS):
        victim, how_far = _start(ctx, _meet_again_and_again, barrier)
        survivor = Survivor(_at_barrier, barrier)
        _reaches(how_far, LEAVING)
        time.sleep(rng.random() * 0.01)
        _reaches(how_far, moment)
        _kill(victim)
        assert survivor.told() == "BrokenBarrierError"
        _meets_again(barrier)
