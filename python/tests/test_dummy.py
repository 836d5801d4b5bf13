"""Threads behind the names of processes: the same program runs on both, and where threads differ they say so."""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.dummy
import os
import queue
import sys
import threading
import time
from typing import Any

import pytest

from working import Point
import tasuki
import tasuki.dummy

#: What starts, patches or is handed to other programs, and what tells of the engine.
WITHOUT_MEANING = {"Command", "ENGINE", "inherited", "inherited_names", "install", "reducer"}


def test_every_name_with_a_meaning_for_threads_is_there() -> None:
    assert set(tasuki.__all__) - set(tasuki.dummy.__all__) == WITHOUT_MEANING
    assert set(multiprocessing.dummy.__all__) <= set(tasuki.dummy.__all__)
    for name in tasuki.dummy.__all__:
        assert getattr(tasuki.dummy, name) is not None
    assert tasuki.dummy.Namespace is multiprocessing.dummy.Namespace


# --- one program, run on processes and on threads


def _double(mp: Any, jobs: Any, results: Any, counter: Any, squares: Any, lock: Any) -> None:
    for number in iter(jobs.get, None):
        with counter.get_lock():
            counter.value += 1
        with lock, squares.get_lock():
            squares[number] = number * number
        results.put((mp.current_process().name, 2 * number))
        jobs.task_done()
    jobs.task_done()


def _meet(barrier: Any, event: Any, semaphore: Any, ticks: Any) -> None:
    event.wait(120)
    with semaphore:
        ticks.put("tick")
    barrier.wait(120)
    sys.exit(3)


def _echo(end: Any) -> None:
    end.send(["got", end.recv()])


def _program(mp: Any) -> dict[str, Any]:
    """Uses what textbooks use; returns what does not depend on chance."""
    seen: dict[str, Any] = {}
    jobs, results = mp.JoinableQueue(), mp.Queue()
    counter, squares, lock = mp.Value("i", 0), mp.Array("d", 5, lock=True), mp.RLock()
    workers = [
        mp.Process(target=_double, args=(mp, jobs, results, counter, squares, lock), name=f"worker {i}", daemon=True)
        for i in range(2)
    ]
    seen["before"] = [(worker.name, worker.daemon, worker.exitcode, worker.is_alive()) for worker in workers]
    for worker in workers:
        worker.start()
    seen["children"] = {worker.name for worker in mp.active_children()}
    for number in (*range(5), None, None):
        jobs.put(number, block=True, timeout=120)
    jobs.join()
    answers = [results.get(timeout=120) for _ in range(5)]
    seen["names"] = {name for name, _ in answers} <= {"worker 0", "worker 1"}
    seen["doubled"] = sorted(double for _, double in answers)
    for worker in workers:
        worker.join(120)
    seen["after"] = [(worker.exitcode, worker.is_alive()) for worker in workers]
    seen["shared"] = (counter.value, squares[:], list(squares.get_obj()), len(squares))
    results.close()
    results.join_thread()

    barrier, event, semaphore, ticks = mp.Barrier(3), mp.Event(), mp.Semaphore(1), mp.SimpleQueue()
    parties = [mp.Process(target=_meet, args=(barrier, event, semaphore, ticks)) for _ in range(2)]
    for party in parties:
        party.start()
    seen["waiting"] = (event.is_set(), semaphore.get_value())
    event.set()
    barrier.wait(timeout=120)
    multiprocessing.connection.wait([party.sentinel for party in parties], timeout=120)
    for party in parties:
        party.join()
    seen["met"] = ([party.exitcode for party in parties], ticks.get(), ticks.get(), ticks.empty())
    for party in parties:
        party.close()
        with pytest.raises(ValueError, match="process object is closed"):
            party.is_alive()

    ours, theirs = mp.Pipe()
    echo = mp.Process(target=_echo, args=(theirs,))
    echo.start()
    ours.send("sash")
    seen["echo"] = ours.recv()
    echo.join(120)

    free = mp.Lock()
    seen["lock"] = (free.acquire(block=False), free.acquire(block=True, timeout=0.01), free.acquire(timeout=-1))
    free.release()
    with pytest.raises(ValueError):
        free.release()
    with pytest.raises(AssertionError):
        mp.RLock().release()
    seen["free"] = free.acquire(timeout=None)
    bounded = mp.BoundedSemaphore(1)
    with pytest.raises(ValueError):
        bounded.release()
    condition = mp.Condition()
    with condition:
        seen["condition"] = condition.wait_for(lambda: False, timeout=0.01)
    with pytest.raises(queue.Empty):
        results_of_nobody = mp.Queue()
        results_of_nobody.get(False)

    timers = [mp.Timer(delay, ticks.put, args=("tock",), daemon=True) for delay in (0, 1000)]
    for timer in timers:
        timer.start()
    timers[1].cancel()
    for timer in timers:
        timer.join(120)
    seen["timers"] = (ticks.get(), ticks.empty(), [timer.exitcode for timer in timers])

    with mp.Pool(2, maxtasksperchild=10) as pool:
        seen["pool"] = pool.map(abs, [-1, 2, -3])
    with mp.Manager() as manager:
        table, row, value = manager.dict(a=1), manager.list([1]), manager.Value("i", 7)
        row.append(2)
        seen["manager"] = (table["a"], list(row), value.get(), manager.Array("i", [1, 2])[1], manager.Queue().empty())
    seen["context"] = mp.get_context("fork").Value("h", 3).value
    seen["raw"] = (mp.RawValue("i", 4).value, mp.RawArray("b", [1, 2])[:], mp.Value("l", 5, lock=False).value)
    return seen


def test_one_word_changes_a_program_from_threads_to_processes() -> None:
    with_threads = _program(tasuki.dummy)
    assert with_threads == _program(tasuki.get_context("fork"))
    assert with_threads["doubled"] == [0, 2, 4, 6, 8] and with_threads["shared"][1] == [0.0, 1.0, 4.0, 9.0, 16.0]


# --- what a thread has that is a process by name


def test_a_process_is_a_thread() -> None:
    process = tasuki.dummy.Process(target=threading.get_native_id)
    assert isinstance(process, (threading.Thread, multiprocessing.dummy.DummyProcess))
    assert process.pid is None
    with pytest.raises(ValueError, match="not started"):
        process.sentinel
    process.start()
    process.join(120)
    assert process.pid == process.native_id != os.getpid()
    assert multiprocessing.connection.wait([process.sentinel], timeout=0) == [process.sentinel]


@pytest.mark.parametrize(("argument", "code"), [((), 0), ((None,), 0), ((5,), 5), (("text",), 1)])
def test_exit_codes(argument: tuple[Any, ...], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    process = tasuki.dummy.Process(target=sys.exit, args=argument)
    process.start()
    process.join(120)
    assert process.exitcode == code
    assert capsys.readouterr().err == ("text\n" if argument == ("text",) else "")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_an_exception_is_exit_code_1_also_in_a_subclass() -> None:
    class Fails(tasuki.dummy.Process):
        def run(self) -> None:
            raise LookupError

    process = Fails()
    process.start()
    process.join(120)
    assert process.exitcode == 1


def test_threads_cannot_be_ended_from_outside() -> None:
    event = threading.Event()
    process = tasuki.dummy.Process(target=event.wait)
    process.start()
    for end in (process.terminate, process.kill, process.interrupt):
        with pytest.raises(NotImplementedError, match="a thread cannot be ended from outside"):
            end()
    with pytest.raises(ValueError, match="still running"):
        process.close()
    event.set()
    process.join(120)
    process.kill()
    process.close()
    process.close()
    assert "closed" in repr(process)
    for use in (process.join, process.start, lambda: process.exitcode, lambda: process.sentinel, lambda: process.pid):
        with pytest.raises(ValueError, match="process object is closed"):
            use()


def test_threads_know_parent_and_children() -> None:
    seen: list[Any] = []

    def child() -> None:
        seen.append((tasuki.dummy.parent_process(), tasuki.dummy.active_children()))

    def parent() -> None:
        process = tasuki.dummy.Process(target=child)
        process.start()
        process.join(120)

    assert tasuki.dummy.parent_process() is None
    assert tasuki.dummy.current_process().pid == threading.get_native_id()
    # A thread that is no Process can have children too.
    thread = threading.Thread(target=parent)
    thread.start()
    thread.join(120)
    assert seen == [(thread, [])]


def test_a_thread_that_was_not_started_by_its_parent_can_still_be() -> None:
    process = tasuki.dummy.Process(target=sys.exit, args=(4,))
    thread = tasuki.dummy.Process(target=lambda: pytest.raises(RuntimeError, process.start))
    thread.start()
    thread.join(120)
    assert thread.exitcode == 0
    process.start()
    process.join(120)
    assert process.exitcode == 4
    with pytest.raises(RuntimeError):
        process.start()


# --- locks


def test_locks_understand_both_dialects() -> None:
    for lock in (tasuki.dummy.Lock(), tasuki.dummy.RLock(), tasuki.dummy.Semaphore()):
        assert not lock.locked() or isinstance(lock, tasuki.dummy.Semaphore)
        assert lock.acquire(blocking=False)
        lock.release()
        with lock as taken:
            assert taken and (lock.locked() or not isinstance(lock, tasuki.dummy.Lock))
    with pytest.raises(RuntimeError):
        tasuki.dummy.Lock(on_owner_died="ignore").release()
    with pytest.raises(RuntimeError):
        tasuki.dummy.RLock(on_owner_died="warn").release()


def test_a_condition_releases_all_depths_of_its_lock() -> None:
    for lock in (None, tasuki.dummy.RLock(), tasuki.dummy.Lock()):
        condition = tasuki.dummy.Condition(lock)

        def notify(condition: Any = condition) -> None:
            with condition:
                condition.notify_all()

        with condition:
            thread = tasuki.dummy.Process(target=notify)
            if isinstance(lock, tasuki.dummy.RLock):
                condition.acquire()
            thread.start()
            assert condition.wait(120)
            if isinstance(lock, tasuki.dummy.RLock):
                condition.release()
        thread.join(120)


def test_an_rlock_is_locked_for_its_owner_and_for_others() -> None:
    lock, seen = tasuki.dummy.RLock(), []
    with lock, lock:
        thread = tasuki.dummy.Process(target=lambda: seen.append((lock.locked(), lock.acquire(timeout=0.01))))
        thread.start()
        thread.join(120)
        assert lock.locked()
    assert seen == [(True, False)] and not lock.locked()


# --- shared data


def test_values_and_arrays_have_what_those_of_processes_have() -> None:
    for mp in (tasuki.dummy, tasuki):
        point = mp.Value(Point, 1, 2.5)
        with point.get_lock():
            point.x += 1
        assert (point.x, point.y) == (2, 2.5)
        text = mp.Array("c", b"sash")
        assert (text.value, text.raw, text[1]) == (b"sash", b"sash", b"a")
        number = mp.Value("B", 255)
        number.value += 1
        assert number.value == 0, "a byte, not a Python int"
        lock = mp.Lock()
        assert mp.Value("i", lock=lock).get_lock() is lock
        with pytest.raises(AttributeError, match="has no method 'acquire'"):
            mp.Value("i", lock=7)
        assert (number.fetch_add(3), number.value) == (0, 3)
        assert mp.Array("i", [1, 2]).fetch_add(1, 5) == 2


def test_arrays_of_numpy_are_the_same() -> None:
    assert tasuki.dummy.shared_array is tasuki.shared_array
    assert tasuki.dummy.shared_array_from is tasuki.shared_array_from


def test_asking_for_shared_data_fixes_no_start_method(run: Any) -> None:
    run(
        """
        import tasuki, tasuki.dummy
        tasuki.dummy.Value("i", 1), tasuki.dummy.Array("i", 3), tasuki.dummy.cpu_count()
        tasuki.dummy.set_start_method("spawn")
        tasuki.dummy.set_start_method("fork")
        assert tasuki.get_start_method(allow_none=True) is None
        """
    )


def test_start_methods_are_accepted_and_unknown_ones_refused() -> None:
    assert tasuki.dummy.get_start_method() == "thread" == tasuki.dummy.get_all_start_methods()[0]
    assert tasuki.dummy.get_context() is tasuki.dummy.get_context("thread") is tasuki.dummy
    for refuse in (tasuki.dummy.get_context, tasuki.dummy.set_start_method):
        with pytest.raises(ValueError, match="cannot find context for 'telepathy'"):
            refuse("telepathy")
    tasuki.dummy.set_executable("x")
    tasuki.dummy.set_forkserver_preload(["x"])
    tasuki.dummy.allow_connection_pickling()
    assert tasuki.dummy.get_logger() is tasuki.get_logger()


def test_a_timer_is_a_timer_of_the_standard_library() -> None:
    timer = tasuki.dummy.Timer(0.05, sys.exit, [6], name="egg")
    assert isinstance(timer, threading.Timer) and timer.name == "egg"
    before = time.monotonic()
    timer.start()
    timer.join(120)
    assert time.monotonic() - before >= 0.05
    assert timer.exitcode == 6 and not timer.finished.is_set()
