"""shared_array: numpy arrays in shared memory, whose views travel as handles and keep the memory."""

from __future__ import annotations

import copy
import gc
import os
import pickle
import signal
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest

from observing import descriptors, resident
import tasuki
from tasuki.arrays import SharedArray

WORKER = Path(os.environ.get("TASUKI_TARGET", Path(__file__).parents[2] / "target")) / "debug/scale_worker"


@pytest.mark.parametrize("dtype", ["?", "i1", "u2", "<i4", ">i4", "u8", "f2", "f4", float, "c16", "S5", "U3", "M8[s]"])
def test_every_dtype_without_objects(dtype: Any) -> None:
    shared = tasuki.shared_array((2, 3), dtype)
    assert isinstance(shared, SharedArray) and isinstance(shared, numpy.ndarray)
    assert (shared.shape, shared.dtype) == ((2, 3), numpy.dtype(dtype))
    assert numpy.array_equal(shared, numpy.zeros((2, 3), dtype))
    again = pickle.loads(pickle.dumps(shared))
    shared[1, 2] = numpy.ones(1, dtype)[0]
    assert numpy.array_equal(again, shared) and again.dtype == shared.dtype


def test_structured_arrays() -> None:
    shared = tasuki.shared_array(3, [("x", "i4"), ("y", "f8", 2)])
    shared["y"][1] = 0.5
    again = pickle.loads(pickle.dumps(shared["y"]))
    shared[1]["y"][0] = 1.5
    assert again.tolist() == [[0, 0], [1.5, 0.5], [0, 0]]


def test_shapes_are_numpys() -> None:
    for shape in (5, (), (0,), (2, 0, 3), [2, 3], (numpy.int64(2), 3), numpy.int8(4)):
        expected = numpy.zeros(shape)
        shared = tasuki.shared_array(shape)
        assert (shared.shape, shared.dtype) == (expected.shape, expected.dtype)
        again = pickle.loads(pickle.dumps(shared))
        assert (again.shape, type(again)) == (expected.shape, SharedArray)
    for shape in ((-1,), (2, -3)):
        with pytest.raises(ValueError, match="negative dimensions"):
            tasuki.shared_array(shape)
    for shape in (1.5, "three", (1, 2.0), None):
        with pytest.raises(TypeError):
            tasuki.shared_array(shape)


def test_what_cannot_be_shared_is_refused() -> None:
    for dtype in (object, [("a", "i4"), ("b", object)]):
        with pytest.raises(TypeError, match="Python objects live in one process"):
            tasuki.shared_array(3, dtype)
    with pytest.raises(TypeError, match="no bytes"):
        tasuki.shared_array(3, "V0")
    with pytest.raises(TypeError, match="Python objects live in one process"):
        tasuki.shared_array_from([object()])
    for shape in (1 << 50, (1 << 40, 1 << 40), 1 << 70):
        with pytest.raises(MemoryError):
            tasuki.shared_array(shape)


def test_from_data() -> None:
    data = numpy.arange(6.0).reshape(2, 3)
    shared = tasuki.shared_array_from(data[:, ::-1])
    data[:] = 0
    assert shared.tolist() == [[2, 1, 0], [5, 4, 3]] and type(shared) is SharedArray
    assert tasuki.shared_array_from([1, 2], "f4").dtype == numpy.float32
    assert tasuki.shared_array_from(7).shape == ()


def _increase(*arrays: Any) -> None:
    for array in arrays:
        assert type(array) is SharedArray
        array += 1


def test_views_are_shared_with_a_process(ctx: Any) -> None:
    shared = tasuki.shared_array((4, 6), "i4")
    views = shared[1:3], shared[::-2, 1::2], shared.T[5], shared[3, 0:0], shared.reshape(-1)[2:4]
    process = ctx.Process(target=_increase, args=views)
    process.start()
    process.join(120)
    assert process.exitcode == 0
    expected = numpy.zeros((4, 6), "i4")
    _increase_plain(expected)
    assert numpy.array_equal(shared, expected)


def _increase_plain(array: Any) -> None:
    for view in (array[1:3], array[::-2, 1::2], array.T[5], array[3, 0:0], array.reshape(-1)[2:4]):
        view += 1


def _send_back(jobs: Any, done: Any) -> None:
    array = jobs.get(timeout=120)
    array *= 2
    done.put(array[1:])
    del array
    jobs.get(timeout=120)


def test_views_travel_through_a_queue_and_keep_the_memory(ctx: Any) -> None:
    jobs, done = ctx.Queue(), ctx.Queue()
    process = ctx.Process(target=_send_back, args=(jobs, done))
    process.start()
    shared = tasuki.shared_array_from(numpy.arange(100_000.0))
    jobs.put(shared[10:20])
    back = done.get(timeout=120)
    assert back.tolist() == [2.0 * n for n in range(11, 20)]
    back[0] = -1
    assert shared[11] == -1
    del shared
    gc.collect()
    jobs.put(None)
    process.join(120)
    assert back.tolist() == [-1, *(2.0 * n for n in range(12, 20))]


def test_a_view_arrives_after_its_sender_was_killed(ctx: Any) -> None:
    mail = ctx.Queue()
    process = ctx.Process(target=_send_and_die, args=(mail,))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert mail.get(timeout=120).tolist() == [7, 8]


def _send_and_die(mail: Any) -> None:
    mail.put(tasuki.shared_array_from([5, 6, 7, 8])[2:])
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_are_ordinary_arrays_and_views_are_not() -> None:
    a = tasuki.shared_array_from(numpy.arange(12.0).reshape(3, 4))
    views = [a[1], a[:, 1:3], a[..., ::-1], a.T, a.reshape(4, 3), a.ravel(), a.real, a[None], a.view("i8"), a.squeeze()]
    views += [
        numpy.asanyarray(a),
        *numpy.split(a, 3),
        numpy.moveaxis(a, 0, 1),
        a.diagonal(),
        numpy.broadcast_to(a[0], (2, 4), True),
    ]
    for view in views:
        assert type(view) is SharedArray
        again = pickle.loads(pickle.dumps(view))
        assert numpy.shares_memory(again, a) and numpy.array_equal(again, view)
    results = [a + 1, -a, a @ a.T, a == a, numpy.sin(a), a.copy(), a.astype(int), a[[0, 2]]]
    results += [
        a[a > 3],
        a.T.ravel(),
        a.T.reshape(-1),
        a.sum(axis=0),
        numpy.sum(a, 1),
        numpy.sort(a),
        numpy.concatenate([a, a]),
    ]
    results += [
        numpy.zeros_like(a),
        copy.copy(a),
        copy.deepcopy(a),
        a.round(1),
        a.clip(0, 1),
        a.cumsum(),
        a.take([1, 2]),
        a.argsort(),
    ]
    results += [
        numpy.where(a > 1, a, 0),
        numpy.linalg.inv(a[:, :3] + numpy.eye(3)),
        a.flatten(),
        a.mean(0),
        numpy.median(a, axis=0),
    ]
    results += [*numpy.modf(a), numpy.add.outer(a[0], a[0]), numpy.array(a), numpy.asarray(a)]
    for number, result in enumerate(results):
        assert type(result) is numpy.ndarray, number
    for scalar in (a.sum(), a[0, 0], numpy.max(a), a.mean(), numpy.dot(a[0], a[0]), a.min()):
        assert isinstance(scalar, numpy.generic)


def test_outputs_and_changes_in_place_stay_where_they_are() -> None:
    a = tasuki.shared_array((2, 2))
    same = a
    a += 3
    a[0] *= 2
    assert a is same
    assert numpy.add(a, 1, out=a) is a and numpy.add.reduce(a, axis=0, out=a[1]).base is not None
    assert a.tolist() == [[7, 7], [11, 11]]
    fraction = numpy.zeros((2, 2))
    assert numpy.modf(a, out=(fraction, None))[0] is fraction
    numpy.add.at(a, (0, 0), 5)
    numpy.copyto(a[1], 1)
    a.sort(axis=0)
    assert a.tolist() == [[1, 1], [12, 7]]
    a[0].fill(9)
    assert pickle.loads(pickle.dumps(a)).tolist() == [[9, 9], [12, 7]]


def test_a_copy_is_pickled_as_the_ordinary_array_it_is() -> None:
    a = tasuki.shared_array(3)
    private = numpy.array(a, subok=True)
    again = pickle.loads(pickle.dumps(private))
    assert type(again) is numpy.ndarray
    with pytest.raises(TypeError, match="private memory"):
        private.get_lock()


def test_all_views_have_one_lock(ctx: Any) -> None:
    a = tasuki.shared_array(4)
    process = ctx.Process(target=_add_under_the_lock, args=(a[:2],))
    process.start()
    for _ in range(500):
        with a.get_lock():
            a[1] = a[1] + 1
    process.join(120)
    assert process.exitcode == 0 and a[1] == 1000


def _add_under_the_lock(view: Any) -> None:
    for _ in range(500):
        with view.get_lock():
            view[1] = view[1] + 1


def test_in_messagepack_it_is_an_array() -> None:
    mail = tasuki.Queue(codec="msgpack")
    a = tasuki.shared_array((2, 3))
    mail.put([a, a.reshape(-1)])
    first, second = mail.get(timeout=120)
    first[5] = 0.5
    second[0] = 1.5
    assert a.tolist() == [[1.5, 0, 0], [0, 0, 0.5]] and len(first) == 6
    for part in (a[1:], a.T, a[:, ::-1], a[0]):
        with pytest.raises(TypeError, match="carries a shared array whole"):
            mail.put(part)
    private = numpy.array(a, subok=True)
    with pytest.raises(TypeError, match="private memory"):
        mail.put(private)


def test_a_rust_program_works_on_arrays_of_both_kinds() -> None:
    jobs, done = tasuki.Queue(codec="msgpack"), tasuki.Queue(codec="msgpack")
    worker = tasuki.Command([WORKER], handles={"jobs": jobs, "done": done}).start()
    image, plain = tasuki.shared_array_from(numpy.arange(6.0).reshape(2, 3)), tasuki.Array("d", [1.0])
    for data in (image, plain):
        jobs.put((data, 2.0))
        assert done.get(timeout=120)[:] == list(numpy.ravel(data))
    assert image.tolist() == [[0, 2, 4], [6, 8, 10]] and plain[:] == [2.0]
    jobs.put((plain, 0.0))
    worker.join(120)
    assert worker.exitcode == 0
    # Numbers of another kind are refused by their reader, and the message says why.
    worker = tasuki.Command(["sh", "-c", '"$0" 2>&1 >/dev/null | grep -q "elements of another type than f64"', WORKER])
    worker.handles.update(jobs=jobs, done=done)
    worker.start()
    jobs.put((tasuki.shared_array(3, "f4"), 2.0))
    worker.join(120)
    assert worker.exitcode == 0


def test_ten_thousand_creations_and_drops_leave_nothing() -> None:
    def create() -> None:
        array = tasuki.shared_array(10)
        pickle.loads(pickle.dumps(array[3:5]))

    for _ in range(500):
        create()
    gc.collect()
    before, memory = descriptors(), resident()
    for _ in range(10_000):
        tasuki.shared_array((5, 5))[2]
    for _ in range(500):
        create()
        tasuki.shared_array(100_000)
    gc.collect()
    assert descriptors() == before
    assert resident() - memory < 8 << 20


def test_its_memory_is_gone_with_its_last_holder(ctx: Any) -> None:
    mail = ctx.Queue()
    process = ctx.Process(target=_hold, args=(mail,))
    process.start()
    inode = mail.get(timeout=120)
    assert _holders(inode) == {process.pid}
    process.kill()
    process.join(120)
    assert _holders(inode) == set()


def _hold(mail: Any) -> None:
    before = _memfds(os.getpid())
    array = tasuki.shared_array(1_000_000)
    (inode,) = _memfds(os.getpid()) - before
    mail.put(inode)
    signal.pause()
    del array


def _memfds(pid: int) -> set[int]:
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if os.readlink(fd).startswith("/memfd:tasuki:arena:large"):
                found.add(fd.stat().st_ino)
        except OSError:
            continue
    return found


def _holders(inode: int) -> set[int]:
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if inode in _memfds(int(process.name)):
                found.add(int(process.name))
        except OSError:
            continue
    return found


def test_without_numpy_the_error_says_what_to_do_and_the_rest_works(run: Any) -> None:
    done = run(
        """
        import sys
        sys.modules["numpy"] = None
        import tasuki
        from tasuki import *
        assert tasuki.Array("i", 2)[:] == [0, 0]
        for _ in range(2):
            try:
                tasuki.shared_array(3)
            except ImportError as error:
                print(error)
        """
    )
    assert done.stdout == 2 * "tasuki.shared_array needs numpy: pip install numpy\n"


def test_numpy_is_not_loaded_before_it_is_asked_for(run: Any) -> None:
    run("import sys, tasuki\ntasuki.Array('i', 2), tasuki.Queue()\nassert 'numpy' not in sys.modules")
    assert "numpy" in sys.modules
