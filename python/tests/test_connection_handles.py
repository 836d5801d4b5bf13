"""Ends of pipes travel, handles travel through them, and so do bare descriptors."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import tempfile
import time
from typing import Any

import pytest

from observing import descriptors
import tasuki
from tasuki import reduction


def _answer(requests: Any) -> None:
    for text, line in iter(requests.recv, None):
        line.send(text.upper())
        line.close()


def test_a_pipe_through_a_pipe(ctx: Any) -> None:
    requests, there = ctx.Pipe()
    process = ctx.Process(target=_answer, args=(there,))
    process.start()
    there.close()
    for text in ("baton", "relay"):
        reader, writer = ctx.Pipe(False)
        requests.send((text, writer))
        writer.close()  # at once, as one may with the standard library's
        assert reader.recv() == text.upper()
        with pytest.raises(EOFError):
            reader.recv()
        reader.close()
    requests.send(None)
    process.join(120)
    requests.close()


def test_a_queue_through_a_queue_through_a_pipe() -> None:
    reader, writer = tasuki.Pipe(False)
    outer, inner = tasuki.Queue(), tasuki.Queue()
    inner.put("inside")
    outer.put(inner)
    writer.send({"queue": outer, "lock": tasuki.Lock(), "value": tasuki.Value("i", 7)})
    del outer, inner
    gc.collect()
    got = reader.recv()
    with got["lock"]:
        assert got["value"].value == 7
    assert got["queue"].get(timeout=120).get(timeout=120) == "inside"
    reader.close()
    writer.close()


def test_a_pipe_in_a_queue_survives_its_sender(ctx: Any) -> None:
    mail = ctx.Queue()
    process = ctx.Process(target=_post_and_die, args=(mail,))
    process.start()
    process.join(120)
    reader = mail.get(timeout=120)
    assert reader.recv() == "posted"
    with pytest.raises(EOFError):
        reader.recv()
    reader.close()


def _post_and_die(mail: Any) -> None:
    reader, writer = tasuki.Pipe(False)
    writer.send("posted")
    mail.put(reader)
    os.kill(os.getpid(), 9)


def test_an_end_that_is_on_its_way_counts(ctx: Any) -> None:
    """While a writing end lies in a message there is no end of the pipe, and there is one when the message is thrown away."""
    reader, writer = tasuki.Pipe(False)
    q = tasuki.Queue()
    q.put(writer)
    writer.close()
    assert not reader.poll(0.3)
    del q
    gc.collect()
    with pytest.raises(EOFError):
        reader.recv()
    reader.close()


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_an_argument_of_a_standard_process(method: str) -> None:
    """And the end is seen, though that process knows nothing of our descriptors."""
    ctx = multiprocessing.get_context(method)
    here, there = tasuki.Pipe()
    process = ctx.Process(target=_say_and_wait, args=(there,))
    process.start()
    there.close()
    assert here.recv() == "closing"
    with pytest.raises(EOFError):
        here.recv()
    process.kill()
    process.join(120)
    here.close()


def _say_and_wait(connection: Any) -> None:
    connection.send("closing")
    connection.close()
    time.sleep(1000)


def test_through_a_pipe_of_the_standard_library(ctx: Any) -> None:
    here, there = multiprocessing.Pipe()
    process = ctx.Process(target=_answer, args=(there,))
    process.start()
    there.close()
    reader, writer = ctx.Pipe(False)
    here.send(("baton", writer))
    writer.close()
    assert reader.recv() == "BATON"
    here.send(None)
    process.join(120)
    here.close()
    reader.close()


def test_a_pickle_of_an_end_is_good_once(ctx: Any) -> None:
    reader, writer = tasuki.Pipe(False)
    pickled = pickle.dumps(writer)
    writer.close()
    again = pickle.loads(pickled)
    again.send(1)
    again.close()
    assert reader.recv() == 1
    with pytest.raises(EOFError):
        reader.recv()
    reader.close()
    with pytest.raises(OSError, match="closed"):
        pickle.dumps(reader)


def test_many_ends_at_the_start_of_a_process(ctx: Any) -> None:
    pipes = [ctx.Pipe(False) for _ in range(100)]
    process = ctx.Process(target=_send_to_each, args=([writer for _, writer in pipes],))
    process.start()
    for number, (reader, writer) in enumerate(pipes):
        writer.close()
        assert reader.recv() == number
    process.join(120)
    for reader, _ in pipes:
        with pytest.raises(EOFError):
            reader.recv()
        reader.close()


def _send_to_each(writers: list[Any]) -> None:
    for number, writer in enumerate(writers):
        writer.send(number)


def test_structured_messages_in_messagepack(ctx: Any) -> None:
    here, there = ctx.Pipe(codec="msgpack")
    process = ctx.Process(target=_double, args=(there,))
    process.start()
    there.close()
    inner, other = ctx.Pipe(codec="msgpack")
    here.send({"number": 21, "line": other})
    assert inner.recv() == {"doubled": 42}
    assert here.recv() == [1, 2.5, "a", None]
    with pytest.raises(ValueError, match="unknown codec"):
        tasuki.Pipe(codec="xml")  # type: ignore[arg-type]
    process.join(120)
    for end in (here, inner, other):
        end.close()


def _double(connection: Any) -> None:
    request = connection.recv()
    request["line"].send({"doubled": 2 * request["number"]})
    connection.send([1, 2.5, "a", None])


# --- bare descriptors


def _write_into(connection: Any) -> None:
    fd = reduction.recv_handle(connection)
    os.write(fd, b"written by the child")
    os.close(fd)


def test_a_descriptor_through_a_pipe(ctx: Any) -> None:
    here, there = ctx.Pipe()
    process = ctx.Process(target=_write_into, args=(there,))
    process.start()
    with tempfile.TemporaryFile() as file:
        reduction.send_handle(here, file.fileno(), process.pid)
        process.join(120)
        file.seek(0)
        assert file.read() == b"written by the child"
    here.close()
    there.close()


def test_a_descriptor_among_messages_keeps_its_place() -> None:
    a, b = tasuki.Pipe()
    with a, b, tempfile.TemporaryFile() as file:
        a.send("before")
        reduction.send_handle(a, file.fileno(), None)
        a.send("after")
        assert b.recv() == "before"
        fd = reduction.recv_handle(b)
        assert os.path.sameopenfile(fd, file.fileno()) and not os.get_inheritable(fd)
        os.close(fd)
        assert b.recv() == "after"


def test_a_message_is_no_descriptor() -> None:
    a, b = tasuki.Pipe()
    with a, b:
        a.send_bytes(b"\1")
        with pytest.raises(RuntimeError):
            reduction.recv_handle(b)
        with pytest.raises(OSError):
            reduction.send_handle(a, 44977608, None)
        with pytest.raises(OSError):
            reduction.send_handle(a, -1, None)
        a.close()
        with pytest.raises(EOFError):
            reduction.recv_handle(b)


def test_descriptors_are_not_left_open() -> None:
    a, b = tasuki.Pipe()
    inner = tasuki.Pipe()
    a.send(inner)
    b.recv()
    gc.collect()
    before = descriptors()
    for _ in range(50):
        a.send(inner)
        for end in b.recv():
            end.close()
        a.send(inner)
        b.recv_bytes()  # nobody takes the handles
        pipe = tasuki.Pipe()
        pipe[0].fileno()
        del pipe
    gc.collect()
    assert descriptors() <= before
    for end in (a, b, *inner):
        end.close()
