"""Large buffers in messages: they travel beside the pickle, come out as they went in, and belong to the receiver."""

from __future__ import annotations

import os
import pickle
import queue
import threading
import time
from typing import Any

import numpy as np
import pytest

import tasuki

LARGE = 1 << 20

ARRAYS = {
    "floats": np.arange(LARGE // 4, dtype="f8").reshape(512, -1),
    "columns first": np.arange(LARGE // 4, dtype="f8").reshape(512, -1).T,
    "every other": np.arange(LARGE // 2, dtype="f8")[::2],
    "structured": np.zeros(LARGE // 4, dtype=[("x", "i4"), ("y", "f8")]),
    "just as large": np.zeros(LARGE, dtype="u1"),
    "just too small": np.zeros(LARGE - 1, dtype="u1"),
    "small floats": np.arange(20_000, dtype="f8"),
    "empty": np.zeros(0),
}


def _frozen(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    array = array.copy()
    array.flags.writeable = False
    return array


# --- what comes out is what went in


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_an_array_comes_out_as_it_went_in(array: np.ndarray[Any, Any]) -> None:
    q = tasuki.Queue()
    q.put(array)
    got = q.get(timeout=120)
    assert got.dtype == array.dtype and got.shape == array.shape
    assert (got == array).all()


def test_several_buffers_in_one_object() -> None:
    q = tasuki.Queue()
    arrays = [np.full(LARGE + 13 * n, n, dtype="u1") for n in range(5)]
    q.put({"name": "five", "arrays": arrays, "first": arrays[0]})
    got = q.get(timeout=120)
    assert got["name"] == "five"
    for n, array in enumerate(got["arrays"]):
        assert array.shape == (LARGE + 13 * n,) and (array == n).all()
        assert array.ctypes.data % 16 == 0
    # What was one object is one object.
    assert got["first"] is got["arrays"][0]


def test_an_array_is_writable_if_it_was() -> None:
    q = tasuki.Queue()
    for size in (LARGE, 1000):
        q.put(np.zeros(size))
        got = q.get(timeout=120)
        got[:] = 7
        assert (got == 7).all()
        q.put(_frozen(np.zeros(size)))
        got = q.get(timeout=120)
        with pytest.raises(ValueError, match="read-only"):
            got[0] = 1


def test_the_receivers_array_is_its_own() -> None:
    q = tasuki.Queue()
    sent = np.zeros(LARGE)
    q.put(sent)
    sent[:] = 1  # taken as it was at put
    first = q.get(timeout=120)
    assert (first == 0).all()
    q.put(sent)
    second = q.get(timeout=120)
    second[:] = 2
    assert (first == 0).all() and (sent == 1).all()


@pytest.mark.parametrize("size", [0, 1, LARGE - 1, LARGE, 3 * LARGE + 1])
def test_a_bytearray_stays_one(size: int) -> None:
    q = tasuki.Queue()
    sent = bytearray(b"ab" * (size // 2 + 1))[:size]
    q.put(sent)
    sent.extend(b"more")  # nobody holds its memory any more
    got = q.get(timeout=120)
    assert type(got) is bytearray and len(got) == size
    assert got == sent[:size]
    got.extend(b"more")


@pytest.mark.parametrize("codec", ["pickle", "msgpack"])
@pytest.mark.parametrize("size", [0, 10, 3 * LARGE])
def test_a_memoryview_goes_as_the_bytes_that_it_shows(codec: str, size: int) -> None:
    q = tasuki.Queue(codec=codec)
    data = b"xyz" * (size // 3) + b"x" * (size % 3)
    q.put(memoryview(data))
    assert q.get(timeout=120) == data
    q.put(memoryview(np.arange(size, dtype="f8")))
    assert q.get(timeout=120) == np.arange(size, dtype="f8").tobytes()
    with pytest.raises(BufferError, match="gaps"):
        q.put(memoryview(b"0123456789")[::2])
    assert q.empty()


def test_a_buffer_that_a_class_of_ones_own_gives_away() -> None:
    q = tasuki.Queue()
    q.put(Image(bytearray(LARGE), 1024))
    image = q.get(timeout=120)
    assert image.width == 1024 and len(image.pixels) == LARGE
    image.pixels[0] = 1


class Image:
    """Reduces as pickle's documentation shows it."""

    def __init__(self, pixels: Any, width: int) -> None:
        self.pixels = memoryview(pixels)
        self.width = width

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Image, (pickle.PickleBuffer(self.pixels), self.width)


def test_a_bare_pickle_buffer_comes_as_a_memoryview() -> None:
    q = tasuki.Queue()
    for data, readonly in ((b"x" * LARGE, True), (bytearray(LARGE), False)):
        q.put(pickle.PickleBuffer(data))
        got = q.get(timeout=120)
        assert type(got) is memoryview and got.readonly == readonly and got == data


# --- refusals


def test_what_cannot_be_pickled_beside_a_buffer_is_the_callers_error_and_harms_nothing() -> None:
    q = tasuki.Queue(1)
    array = bytearray(LARGE)
    for _ in range(3):
        with pytest.raises((AttributeError, pickle.PicklingError), match="lambda"):
            q.put((pickle.PickleBuffer(array), lambda: None))
    array.extend(b"not held by anybody")
    q.put((1, "small"))
    assert q.get(timeout=120) == (1, "small")


def test_a_full_queue_refuses_large_ones_too() -> None:
    q = tasuki.Queue(1)
    q.put(np.zeros(LARGE))
    for _ in range(20):
        with pytest.raises(queue.Full):
            q.put(np.ones(LARGE), timeout=0.01)
        with pytest.raises(queue.Full):
            q.put_nowait(bytearray(LARGE))
    assert (q.get() == 0).all() and q.empty()


# --- between processes


def _double(there: Any, back: Any) -> None:
    while (array := there.get()) is not None:
        back.put(array * 2)


def test_arrays_cross_processes(ctx: Any) -> None:
    there, back = ctx.Queue(), ctx.Queue()
    process = ctx.Process(target=_double, args=(there, back))
    process.start()
    for n in range(5):
        there.put(np.full(LARGE, n, dtype="i8"))
        assert (back.get(timeout=120) == 2 * n).all()
    there.put(None)
    process.join(120)
    assert process.exitcode == 0


# --- views


@pytest.mark.parametrize("size", [0, 100, 5000, LARGE, 3 * LARGE])
def test_get_view_gives_bytes_as_views_and_other_things_as_they_are(size: int) -> None:
    q = tasuki.Queue()
    data = b"v" * size
    q.put_many([data, bytearray(data), (1, data)])
    view = q.get_view(timeout=120)
    assert type(view) is memoryview and view.readonly and view == data
    view = q.get_view(timeout=120)
    assert type(view) is memoryview and not view.readonly and view == data
    assert q.get_view(timeout=120) == (1, data)
    with pytest.raises(queue.Empty):
        q.get_view(False)


def _memory() -> int:
    """What the queues of this process have of memory."""
    kept = 0
    for fd in os.listdir("/proc/self/fd"):
        try:
            if "tasuki:queue" in os.readlink(f"/proc/self/fd/{fd}"):
                kept += os.stat(f"/proc/self/fd/{fd}").st_blocks * 512
        except FileNotFoundError:
            continue
    return kept


def test_memory_is_used_again_when_the_last_object_over_it_is_gone() -> None:
    q = tasuki.Queue()
    before = _memory()
    held = []
    for n in range(4):
        q.put(np.full(4 * LARGE, n, dtype="u1"))
        held.append(q.get(timeout=120)[5:10])  # a part of it keeps it all
    assert _memory() - before >= 16 * LARGE
    assert [int(part[0]) for part in held] == [0, 1, 2, 3]
    held.clear()
    for n in range(40):
        q.put(np.zeros(4 * LARGE, dtype="u1"))
        del_me = q.get(timeout=120)
        del del_me
    assert _memory() - before < 24 * LARGE


# --- across a fork


def _change_and_report(array: Any, go: Any, back: Any) -> None:
    back.put(float(array.mean()))
    array[:] = -1
    back.put(float(array.mean()))
    assert go.wait(120)
    back.put(float(array.mean()))


@pytest.mark.parametrize("touch", ["untouched", "written to"])
def test_a_forked_child_has_an_array_of_its_own(touch: str) -> None:
    ctx = tasuki.get_context("fork")
    q, back, go = ctx.Queue(), ctx.Queue(), ctx.Event()
    q.put(np.full(LARGE, 7.0))
    array = q.get(timeout=120)
    if touch == "written to":
        array[: LARGE // 2] = 7.0
    children = [ctx.Process(target=_change_and_report, args=(array, go, back)) for _ in range(2)]
    for child in children:
        child.start()
    assert sorted(back.get(timeout=120) for _ in range(4)) == [-1, -1, 7, 7]
    assert (array == 7).all()  # the parent's is as it was
    array[:] = 3
    go.set()
    assert [back.get(timeout=120) for _ in range(2)] == [-1, -1]
    for child in children:
        child.join(120)
        assert child.exitcode == 0


def _look_late(views: Any, go: Any, back: Any) -> None:
    assert go.wait(120)
    back.put([int(np.frombuffer(view, dtype="u1").min()) for view in views])
    back.put([int(np.frombuffer(view, dtype="u1").max()) for view in views])


def test_what_a_forked_child_has_does_not_become_another_message() -> None:
    ctx = tasuki.get_context("fork")
    q, back, go = ctx.Queue(), ctx.Queue(), ctx.Event()
    q.put(np.full(4 * LARGE, 7, dtype="u1"))
    q.put(b"\x08" * 4 * LARGE)
    q.put(bytearray(b"\x09" * 4 * LARGE))
    views = [q.get(timeout=120), q.get_view(timeout=120), q.get_view(timeout=120)]
    child = ctx.Process(target=_look_late, args=(views, go, back))
    child.start()
    views.clear()
    for number in range(20, 26):  # would go into the same memory
        q.put(np.full(4 * LARGE, number, dtype="u1"))
        views.append(q.get(timeout=120))
    go.set()
    assert back.get(timeout=120) == back.get(timeout=120) == [7, 8, 9]
    child.join(120)
    assert child.exitcode == 0
    assert [int(array[-1]) for array in views] == list(range(20, 26))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_threads_may_write_into_an_array_while_the_process_forks() -> None:
    q = tasuki.Queue()
    array = np.zeros(LARGE, dtype="i8")
    stop = threading.Event()

    def count() -> None:
        while not stop.is_set():
            np.add(array, 1, out=array)

    for _ in range(4):
        q.put(np.zeros(LARGE, dtype="i8"))
        array = q.get(timeout=120)
        stop.clear()
        thread = threading.Thread(target=count)
        thread.start()
        for _ in range(3):
            pid = os.fork()
            if pid == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        stop.set()
        thread.join()
        assert (array == array[0]).all()  # no addition was lost on the way


def test_the_memory_of_an_array_is_given_back_when_the_process_forks() -> None:
    ctx = tasuki.get_context("fork")
    q = ctx.Queue()
    before = _memory()
    held = []
    for number in range(10):
        q.put(np.full(8 * LARGE, number, dtype="u1"))
        held.append(q.get(timeout=120))
        child = ctx.Process(target=abs, args=(1,))
        child.start()
        child.join(120)
    assert _memory() - before < 24 * LARGE
    assert [int(array[-1]) for array in held] == list(range(10))


# --- when somebody is killed


def _hold(q: Any, got: Any) -> None:
    arrays = [q.get() for _ in range(4)]
    got.put(int(sum(array[0] for array in arrays)))
    time.sleep(1000)


def test_what_a_killed_process_held_is_used_again(ctx: Any) -> None:
    q, got = ctx.Queue(), ctx.Queue()
    before = _memory()
    for _ in range(6):
        holder = ctx.Process(target=_hold, args=(q, got), daemon=True)
        holder.start()
        for n in range(4):
            q.put(np.full(4 * LARGE, n, dtype="i1"))
        assert got.get(timeout=120) == 6
        holder.kill()
        holder.join(120)
    assert _memory() - before < 3 * 16 * LARGE  # of 96 that went through
    q.put(np.ones(LARGE))
    assert q.get(timeout=120).sum() == LARGE
