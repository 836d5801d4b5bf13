"""Handles travel: as arguments, inside messages of ours, and as tickets through pipes."""

from __future__ import annotations

import ctypes
import gc
import os
import pickle
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from observing import descriptors
from deadlines import until
import tasuki


def _segments(pid: int | str = "self") -> list[str]:
    """The descriptors of a process that are memory of ours."""
    names = []
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            names.append(os.readlink(entry))
        except OSError:
            pass
    return [name for name in names if name.startswith("/memfd:tasuki")]


def _use(q: Any, lock: Any, rlock: Any, value: Any, raw: Any, answers: Any) -> None:
    with lock, rlock:
        value.value += 1
        raw.value += 1
        answers.put(q.get(timeout=120))


def test_all_of_them_as_arguments(ctx: Any) -> None:
    q, lock, rlock, value, raw = ctx.Queue(), ctx.Lock(), ctx.RLock(), ctx.Value("i"), ctx.Value("i", lock=False)
    answers = ctx.Queue()
    processes = [ctx.Process(target=_use, args=(q, lock, rlock, value, raw, answers)) for _ in range(2)]
    for process in processes:
        process.start()
    q.put("a")
    q.put("b")
    assert {answers.get(timeout=120), answers.get(timeout=120)} == {"a", "b"}
    for process in processes:
        process.join(120)
    assert (value.value, raw.value) == (2, 2)


def test_arguments_of_a_standard_process() -> None:
    import multiprocessing

    for method in multiprocessing.get_all_start_methods():
        ctx = multiprocessing.get_context(method)
        q, answers = tasuki.Queue(), tasuki.Queue()
        args = (q, tasuki.Lock(), tasuki.RLock(), tasuki.Value("i"), tasuki.Value("i", lock=False), answers)
        process = ctx.Process(target=_use, args=args)
        process.start()
        q.put(method)
        assert answers.get(timeout=120) == method
        process.join(120)


def test_three_hundred_arguments(ctx: Any) -> None:
    """More than the 251 descriptors that a fork server passes."""
    values, answers = [ctx.Value("i", number) for number in range(300)], ctx.Queue()
    process = ctx.Process(target=_add_up, args=(values, answers))
    process.start()
    assert answers.get(timeout=120) == sum(range(300))
    process.join(120)


def _add_up(values: list[Any], answers: Any) -> None:
    answers.put(sum(value.value for value in values))


def test_a_hundred_queues(ctx: Any) -> None:
    queues = [ctx.Queue() for _ in range(100)]
    process = ctx.Process(target=_put_into_each, args=(queues,))
    process.start()
    assert [q.get(timeout=120) for q in queues] == list(range(100))
    process.join(120)


def test_a_thousand_descriptors(ctx: Any) -> None:
    """More than a fork server passes on, and twice among the arguments."""
    queues = [ctx.Queue(1) for _ in range(250)]
    process = ctx.Process(target=_put_into_each, args=(queues,), kwargs={"again": queues[::-1]})
    process.start()
    assert [q.get(timeout=120) for q in queues] == list(range(250))
    process.join(120)
    assert process.exitcode == 0


def _put_into_each(queues: list[Any], again: list[Any] | None = None) -> None:
    assert again is None or again[::-1] == queues
    for number, q in enumerate(queues):
        q.put(number)


def test_a_queue_that_only_its_process_object_had(ctx: Any) -> None:
    """The standard library deletes the arguments once the process is started, before a child has opened them."""
    answers = ctx.Queue()
    process = ctx.Process(target=_own_queue, args=(ctx.Queue(), ctx.Lock(), ctx.Value("i", 5), answers))
    process.start()
    gc.collect()
    assert answers.get(timeout=120) == 5
    process.join(120)
    assert process.exitcode == 0


def _own_queue(q: Any, lock: Any, value: Any, answers: Any) -> None:
    with lock:
        q.put(value.value)
        answers.put(q.get())


def _serve(requests: Any) -> None:
    for text, answer in iter(requests.get, None):
        answer.put(text.upper())


def test_a_queue_through_a_queue(ctx: Any) -> None:
    requests = ctx.Queue()
    process = ctx.Process(target=_serve, args=(requests,))
    process.start()
    for text in ("baton", "relay", "sash"):
        answer = ctx.Queue()
        requests.put((text, answer))
        assert answer.get(timeout=120) == text.upper()
    requests.put(None)
    process.join(120)


def test_a_handle_survives_its_sender(ctx: Any) -> None:
    """The queue carries the descriptors: nobody needs to live but the message."""
    mail = ctx.Queue()
    process = ctx.Process(target=_send_and_die, args=(mail,))
    process.start()
    process.join(120)
    q, lock, value = mail.get(timeout=120)
    assert q.get(timeout=120) == "inside"
    with lock:
        assert value.value == 7


def _send_and_die(mail: Any) -> None:
    q = tasuki.Queue()
    q.put("inside")
    mail.put((q, tasuki.Lock(), tasuki.Value("i", 7)))
    os.kill(os.getpid(), 9)


def _answer_in_messagepack(q: Any) -> None:
    request = q.get(timeout=120)
    with request["lock"], request["rlock"], request["value"].get_lock():
        request["value"].value += 1
        request["raw"].value = 3
    request["replies"][0].put({"padding": b"x" * 100_000, "value": request["value"]})


def _answer(jobs: Any, count: int) -> None:
    for _ in range(count):
        number, lock, connection = jobs.get(timeout=120)
        with lock:
            connection.send(number)


def test_any_number_of_messages_with_handles_waits_in_a_queue(ctx: Any) -> None:
    # The kernel takes the descriptors of some 280 messages; a queue without a bound takes any number of messages.
    count = 700
    jobs, lock = ctx.Queue(), ctx.Lock()
    reader, writer = ctx.Pipe(False)
    for number in range(count):
        if number % 2:
            jobs.put((number, lock, writer), timeout=120)
        else:
            jobs.put_nowait((number, lock, writer))
    jobs.put("the last one")
    process = ctx.Process(target=_answer, args=(jobs, count))
    process.start()
    assert [reader.recv() for _ in range(count)] == list(range(count))
    assert jobs.get(timeout=120) == "the last one"
    process.join(120)
    assert process.exitcode == 0


def test_handles_in_messagepack(ctx: Any) -> None:
    q, replies = ctx.Queue(codec="msgpack"), ctx.Queue(codec="msgpack")
    value, raw = ctx.Value("d", 1.5), ctx.Value("i", lock=False)
    process = ctx.Process(target=_answer_in_messagepack, args=(q,))
    process.start()
    q.put({"lock": ctx.Lock(), "rlock": ctx.RLock(), "value": value, "raw": raw, "replies": [replies]})
    answer = replies.get(timeout=120)
    process.join(120)
    assert (answer["value"].value, value.value, raw.value) == (2.5, 2.5, 3)
    # It is the same object with the same lock, not a copy.
    with answer["value"].get_lock():
        failed: list[bool] = []
        thread = threading.Thread(target=lambda: failed.append(value.get_lock().acquire(False)))
        thread.start()
        thread.join(120)
        assert failed == [False]


def test_a_value_with_the_lock_of_another_object_stays_tied_to_it() -> None:
    mail, lock = tasuki.Queue(), tasuki.Lock()
    mail.put(tasuki.Value("i", 5, lock=lock))
    value = mail.get(timeout=120)
    with value.get_lock():
        assert not lock.acquire(False)
    with pytest.raises(TypeError, match="lock of another object"):
        tasuki.Queue(codec="msgpack").put(value)


def test_the_same_object_twice_in_one_message() -> None:
    mail, lock = tasuki.Queue(), tasuki.Lock()
    mail.put([lock, lock, tasuki.Lock()])
    first, second, other = mail.get(timeout=120)
    with first:
        assert not second.acquire(False) and not lock.acquire(False)
        assert other.acquire(False)


def test_through_a_pipe(ctx: Any) -> None:
    ours, theirs = ctx.Pipe()
    process = ctx.Process(target=_over_a_pipe, args=(theirs,))
    process.start()
    q, lock, value = ctx.Queue(), ctx.Lock(), ctx.Value("i", 1)
    ours.send((q, lock, value))
    assert q.get(timeout=120) == 1
    with lock:
        assert value.value == 2
    # The same object again: a ticket is good more than once.
    ours.send((q, lock, value))
    assert q.get(timeout=120) == 2
    ours.send(None)
    process.join(120)
    assert process.exitcode == 0


def _over_a_pipe(pipe: Any) -> None:
    while (received := pipe.recv()) is not None:
        q, lock, value = received
        with lock:
            q.put(value.value)
            value.value += 1


def test_a_ticket_of_a_process_that_is_gone_says_so() -> None:
    ctx = tasuki.get_context("fork")
    ours, theirs = ctx.Pipe()
    process = ctx.Process(target=_send_tickets, args=(theirs,))
    process.start()
    pid = process.pid
    texts = ours.recv()
    process.join(120)
    for name, text in texts.items():
        with pytest.raises(RuntimeError, match=f"cannot open this {name}: process {pid}"):
            pickle.loads(text)


def _send_tickets(pipe: Any) -> None:
    objects = {"Queue": tasuki.Queue(), "Lock": tasuki.Lock(), "RLock": tasuki.RLock()}
    pipe.send({name: pickle.dumps(obj) for name, obj in objects.items()})


def test_a_ticket_in_its_own_process() -> None:
    lock = tasuki.Lock()
    other = pickle.loads(pickle.dumps(lock))
    with lock:
        assert not other.acquire(False)


def test_through_a_standard_queue_and_a_manager(ctx: Any) -> None:
    import multiprocessing.queues

    standard = multiprocessing.queues.Queue(ctx=ctx)
    lock = ctx.Lock()
    standard.put(lock)
    other = standard.get(timeout=120)
    with lock:
        assert not other.acquire(False)
    standard.close()
    standard.join_thread()


def test_nothing_piles_up() -> None:
    mail = tasuki.Queue()
    counts = []
    for _ in range(5):
        for _ in range(50):
            mail.put((tasuki.Queue(), tasuki.Lock(), tasuki.Value("i")))
            mail.get(timeout=120)
        gc.collect()
        counts.append(descriptors())
    assert max(counts[1:]) <= counts[0] + 2


def _segments_of_the_child(answers: Any, *held: Any) -> None:
    del held
    gc.collect()
    answers.put(len(_segments()))


def test_a_child_holds_no_more_than_it_uses(ctx: Any) -> None:
    answers = ctx.Queue()
    counts = []
    for many in (1, 40):
        process = ctx.Process(target=_segments_of_the_child, args=(answers, *[ctx.Lock() for _ in range(many)]))
        process.start()
        counts.append(answers.get(timeout=120))
        process.join(120)
    assert counts[1] <= counts[0] + 1


def test_a_queue_that_nobody_has_is_gone() -> None:
    gc.collect()
    before = len(_segments())
    queues = [tasuki.Queue() for _ in range(20)]
    assert len(_segments()) == before + 20
    del queues
    gc.collect()
    assert len(_segments()) == before


def test_handles_cross_threads_and_forks_at_the_same_time() -> None:
    ctx = tasuki.get_context("fork")
    mail, stop = ctx.Queue(), threading.Event()

    def churn() -> None:
        while not stop.is_set():
            mail.put(tasuki.Lock())
            mail.get(timeout=120)

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(10):
            answers = ctx.Queue()
            process = ctx.Process(target=_make_and_answer, args=(answers,))
            process.start()
            assert answers.get(timeout=120) == "made"
            process.join(120)
    finally:
        stop.set()
        thread.join(120)


def _make_and_answer(answers: Any) -> None:
    with tasuki.Lock():
        tasuki.Value(ctypes.c_int, 1)
    answers.put("made")


def test_after_kill_nine_of_everybody_nothing_is_left(run: Any, tmp_path: Path) -> None:
    """The kernel counts who has the memory; there is nothing to sweep."""
    import subprocess
    import sys

    program = (
        "import tasuki, time\n"
        "def work(q, lock, value):\n"
        "    while True:\n"
        "        with lock: q.put(b'x' * 1000)\n"
        "        q.get()\n"
        "if __name__ == '__main__':\n"
        "    q, lock, value = tasuki.Queue(), tasuki.Lock(), tasuki.Value('i')\n"
        "    for m in ('fork', 'spawn'):\n"
        "        for _ in range(2):\n"
        "            tasuki.get_context(m).Process(target=work, args=(q, lock, value)).start()\n"
        "    print('started', flush=True)\n"
        "    time.sleep(1000)\n"
    )
    script = tmp_path / "tree.py"
    script.write_text(program)
    tree = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, start_new_session=True)
    assert tree.stdout is not None and tree.stdout.readline() == b"started\n"
    time.sleep(0.3)
    os.killpg(tree.pid, 9)
    tree.wait(120)
    tree.stdout.close()
    until(lambda: not _members(tree.pid))


def _members(group: int) -> list[int]:
    members = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            members.append(int(stat.parent.name))
    return members
