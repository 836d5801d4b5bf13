"""What survivors are told of a dead owner: who, when and how it ended, and in which of three ways."""

from __future__ import annotations

import pickle
import time
import warnings
from typing import Any

import pytest

from working import hold
import tasuki


@pytest.fixture(params=["Lock", "RLock"])
def make(request: pytest.FixtureRequest) -> Any:
    return lambda ctx=tasuki, **options: getattr(ctx, request.param)(**options)


def _killed_holder(ctx: Any, lock: Any, name: str = "Victim") -> Any:
    """A process of this name that was killed while it held the lock."""
    ready = ctx.Event()
    process = ctx.Process(target=hold, args=(lock, ready), name=name, daemon=True)
    process.start()
    assert ready.wait(120)
    process.kill()
    process.join(120)
    return process


def _free(lock: Any) -> bool:
    """Whether nobody has the lock, and nobody is told of a death any more."""
    return not lock.locked() and lock.acquire(False) and lock.release() is None


# --- who, when, how


def test_the_exception_says_who_died_and_when(ctx: Any, make: Any) -> None:
    lock, began = make(ctx), time.time()
    process = _killed_holder(ctx, lock, "Worker-1")
    with pytest.raises(tasuki.OwnerDied) as caught:
        lock.acquire()
    error = caught.value
    assert (error.pid, error.name, error.left_normally) == (process.pid, "Worker-1", False)
    # Milliseconds are kept.
    assert began - 0.01 <= error.when <= time.time()
    assert str(error) == f"process {process.pid} (Worker-1) died while it held the lock"
    assert _free(lock)


def _leave_with(lock: Any) -> None:
    lock.acquire()


def test_the_exception_says_that_a_process_ended_without_releasing(ctx: Any, make: Any) -> None:
    lock = make(ctx)
    process = ctx.Process(target=_leave_with, args=(lock,), name="Forgetful")
    process.start()
    process.join(120)
    with pytest.raises(tasuki.OwnerDied) as caught:
        lock.acquire()
    assert caught.value.left_normally
    assert str(caught.value) == f"process {process.pid} (Forgetful) ended without releasing the lock"


@pytest.mark.parametrize("name", ["file-\udcff", "\ud800"], ids=["of a file", "half a pair"])
def test_a_process_may_have_any_name(ctx: Any, make: Any, name: str) -> None:
    """The standard library's may, and a child must not die of it."""
    lock = make(ctx)
    process = _killed_holder(ctx, lock, name)
    with pytest.raises(tasuki.OwnerDied) as caught:
        lock.acquire()
    assert (caught.value.pid, caught.value.name) == (
        process.pid,
        str(name).encode("utf-8", "backslashreplace").decode(),
    )


def test_a_process_has_the_name_that_it_started_with(ctx: Any, make: Any) -> None:
    lock = make(ctx)
    _killed_holder(ctx, lock, "襷" * 9)
    with pytest.raises(tasuki.OwnerDied) as caught:
        lock.acquire()
    assert caught.value.name == "襷" * 8, "whole characters that fit in 24 bytes"


def test_the_main_process_has_its_name_too(run: Any) -> None:
    source = """
        import os, signal, tasuki

        def child(lock, go, done):
            go.set()
            while True:
                try:
                    lock.acquire(timeout=120)
                except tasuki.OwnerDied as error:
                    print(error.name, error.pid == int(os.environ["PARENT"]), flush=True)
                    break

        if __name__ == "__main__":
            os.environ["PARENT"] = str(os.getpid())
            ctx = tasuki.get_context("fork")
            lock, go = ctx.Lock(), ctx.Event()
            lock.acquire()
            ctx.Process(target=child, args=(lock, go, None)).start()
            go.wait(120)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = run(source, check=False)
    assert done.stdout == "MainProcess True\n", done.stderr


@pytest.mark.parametrize("policy", ["raise", "warn"])
def test_it_is_told_though_nothing_can_be_imported_any_more(run: Any, policy: str) -> None:
    """As when the process has no descriptor left: a death is told once, and another exception would be in its place."""
    source = f"""
        import os, signal, sys, warnings, tasuki

        def hold():
            lock.acquire()
            tasks.get()
            os.kill(os.getpid(), signal.SIGKILL)

        lock = tasuki.Lock(on_owner_died={policy!r})
        tasks = tasuki.JoinableQueue(on_owner_died={policy!r})
        tasks.put("a task")
        victim = tasuki.get_context("fork").Process(target=hold)
        victim.start()
        victim.join()
        sys.meta_path[:] = []
        told = []
        for ask in (lock.acquire, tasks.join):
            try:
                ask()
            except Exception as error:
                told.append(type(error).__name__)
        print(*told)
    """
    name = "OwnerDied" if policy == "raise" else "OwnerDiedWarning"  # the program makes warnings errors
    assert run(source).stdout == f"{name} {name}\n"


@pytest.mark.parametrize("kind", [tasuki.OwnerDied, tasuki.OwnerDiedWarning])
def test_it_can_be_pickled(kind: Any) -> None:
    error = pickle.loads(pickle.dumps(kind("gone", 7, "Worker-7", 1234.5, True)))
    assert type(error) is kind
    assert (error.args, error.pid, error.name, error.when, error.left_normally) == (
        ("gone",),
        7,
        "Worker-7",
        1234.5,
        True,
    )
    assert kind("only a text").pid == 0


# --- raise, warn, ignore


def test_raising_is_what_happens_without_asking(make: Any) -> None:
    assert make().on_owner_died == "raise"
    assert tasuki.Value("i").get_lock().on_owner_died == "raise"


def test_a_warning_comes_with_the_lock(ctx: Any, make: Any) -> None:
    lock = make(ctx, on_owner_died="warn")
    process = _killed_holder(ctx, lock)
    with pytest.warns(tasuki.OwnerDiedWarning, match=r"died while it held the lock") as caught:
        assert lock.acquire() is True
    (warning,) = caught
    assert warning.filename == __file__, "it names the line that asked for the lock"
    assert isinstance(warning.message, tasuki.OwnerDiedWarning)
    assert (warning.message.pid, warning.message.name) == (process.pid, "Victim")
    assert lock.locked()
    lock.release()
    assert _free(lock)


def test_a_warning_that_is_made_an_error_leaves_the_lock_free(ctx: Any, make: Any) -> None:
    lock = make(ctx, on_owner_died="warn")
    _killed_holder(ctx, lock)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(tasuki.OwnerDiedWarning), lock:
            raise AssertionError("nobody gets here")
    assert _free(lock)


def test_ignoring_gets_the_lock_and_nothing_else(ctx: Any, make: Any) -> None:
    lock = make(ctx, on_owner_died="ignore")
    _killed_holder(ctx, lock)
    # Warnings are errors in these tests.
    with lock as inside:
        assert inside is True
        assert lock.locked()
    assert _free(lock)


def test_any_other_word_is_refused(make: Any) -> None:
    for wrong in ("Raise", "", None, 1):
        with pytest.raises(ValueError, match="must be 'raise', 'warn' or 'ignore', not "):
            make(on_owner_died=wrong)
    lock = make()
    with pytest.raises(ValueError, match="not 'never'"):
        lock.on_owner_died = "never"
    assert lock.on_owner_died == "raise"


def _tell_policies(locks: Any, answers: Any) -> None:
    answers.put([lock.on_owner_died for lock in [*locks, *answers.get()]])


def test_the_policy_goes_along_with_the_lock(ctx: Any, make: Any) -> None:
    policies = ["raise", "warn", "ignore"]
    locks = [make(ctx, on_owner_died=policy) for policy in policies]
    answers = ctx.Queue()
    process = ctx.Process(target=_tell_policies, args=(locks, answers))
    answers.put(locks)
    process.start()
    process.join(120)
    assert answers.get(timeout=120) == policies * 2
    tickets = pickle.loads(pickle.dumps(locks))
    assert [lock.on_owner_died for lock in tickets] == policies


def test_a_message_for_other_languages_has_no_policy(make: Any) -> None:
    q = tasuki.Queue(codec="msgpack")
    q.put([make(on_owner_died="ignore")])
    assert q.get(timeout=120)[0].on_owner_died == "raise"


def test_a_value_is_read_in_the_way_its_lock_says(ctx: Any) -> None:
    value = ctx.Value("i", 5)
    _killed_holder(ctx, value.get_lock())
    with pytest.raises(tasuki.OwnerDied):
        print(value.value)
    assert value.value == 5
    _killed_holder(ctx, value.get_lock())
    value.get_lock().on_owner_died = "ignore"
    with value:
        assert value.value == 5
    assert _free(value.get_lock())
