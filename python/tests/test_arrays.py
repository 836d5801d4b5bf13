"""Array, RawValue, RawArray, copy and synchronized: ctypes objects in shared memory, as the standard library has them."""

from __future__ import annotations

import array
import ctypes
import gc
import multiprocessing.sharedctypes
import pickle
import signal
import threading
from typing import Any

import numpy
import pytest

from observing import descriptors, resident
from working import Point
import tasuki
from tasuki import heap, sharedctypes


class Either(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("bytes", ctypes.c_ubyte * 4)]


CODES = {
    "c": b"xyz",
    "u": "襷ab",
    "b": (-128, 127),
    "B": (0, 255),
    "h": (-5, 5),
    "H": (0, 2**16 - 1),
    "i": (-(2**31), 2**31 - 1),
    "I": (0, 2**32 - 1),
    "l": (-(2**63), 2**63 - 1),
    "L": (0, 2**64 - 1),
    "q": (-1, 1),
    "Q": (1, 2**64 - 1),
    "f": (0.5, -0.25),
    "d": (0.5, -1e300),
}


@pytest.mark.parametrize("code", CODES)
def test_every_type_code(code: str) -> None:
    initial = CODES[code]
    ours, standard = tasuki.RawArray(code, initial), multiprocessing.RawArray(code, initial)
    assert type(ours) is type(standard)
    assert ours[:] == standard[:]
    wrapped = tasuki.Array(code, initial)
    assert wrapped[:] == standard[:] and wrapped.get_obj()[:] == standard[:]
    assert [wrapped[index] for index in range(len(wrapped))] == list(wrapped) == list(standard)
    item = list(initial)[0]
    assert tasuki.RawValue(code, item).value == multiprocessing.RawValue(code, item).value


def test_a_size_makes_zeros_even_where_something_lay_before() -> None:
    for _ in range(3):
        arrays = [tasuki.Array("i", 10) for _ in range(50)]
        for shared in arrays:
            assert shared[:] == [0] * 10
            shared[:] = range(1, 11)
        del arrays
    assert len(tasuki.Array("d", 0)) == 0 and tasuki.Array("d", 0)[:] == []
    assert tasuki.RawArray(Point, 2)[1].y == 0


def test_indices_and_slices() -> None:
    numbers = list(range(20))
    shared, plain = tasuki.Array("i", numbers), (ctypes.c_int * 20)(*numbers)
    for key in (0, 19, -1, -20, slice(None), slice(2, 7), slice(None, None, -3), slice(50, 60), slice(-3, None)):
        assert shared[key] == plain[key]
    shared[4:8] = array.array("i", [1, 2, 3, 4])
    shared[-1] = 99
    shared[::10] = [7, 8]
    assert shared[:] == [7, 1, 2, 3, 1, 2, 3, 4, 8, 9, 8, *range(11, 19), 99]


def _error(action: Any) -> tuple[type, str]:
    with pytest.raises(Exception) as raised:
        action()
    return raised.type, str(raised.value)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda module: module.Array("i", 3)[3],
        lambda module: module.Array("i", 3)[-4],
        lambda module: module.Array("i", 3).__setitem__(3, 1),
        lambda module: module.Array("i", 3).__setitem__(0, "one"),
        lambda module: module.Array("i", 3).__setitem__(slice(0, 2), [1]),
        lambda module: module.Array("i", 3)["one"],
        lambda module: module.Array("i", -1),
        lambda module: module.Array("i", ["one"]),
        lambda module: module.Array("i", 1.5),
        lambda module: module.Array("i", 3, lock="no lock"),
        lambda module: module.RawArray("i", None),
        lambda module: module.RawValue("i", "one"),
        lambda module: module.Array("c", b"abc").__setitem__(0, b"ab"),
        lambda module: setattr(module.Array("c", 3), "value", b"too long"),
        lambda module: module.sharedctypes.synchronized(module.Array("i", 1)),
    ],
)
def test_errors_are_the_standard_ones(wrong: Any) -> None:
    kind, text = _error(lambda: wrong(tasuki))
    assert (kind, text) == _error(lambda: wrong(multiprocessing))


def test_an_error_leaves_the_lock_free() -> None:
    shared = tasuki.Array("i", 3)
    with pytest.raises(IndexError):
        shared[3] = 1
    with pytest.raises(TypeError):
        shared[0] = "one"
    assert not shared.get_lock().locked()


def test_more_than_fits_is_a_memory_error() -> None:
    with pytest.raises(MemoryError, match="does not fit in memory"):
        tasuki.Array("d", 1 << 50)


def test_the_lock_argument() -> None:
    lock = tasuki.Lock()
    shared = tasuki.Array("i", 3, lock=lock)
    assert shared.get_lock() is lock
    with shared:
        assert not lock.acquire(False)
    shared[0] = 5
    assert shared[0] == 5 and not lock.locked()
    for made in (tasuki.Array("i", 3), tasuki.Array("i", 3, lock=None), tasuki.Array("i", 3, lock=True)):
        assert isinstance(made.get_lock(), multiprocessing.synchronize.RLock)
        with made, made.get_lock():
            made[0] += 1
    assert not hasattr(tasuki.Array("i", 3, lock=False), "get_lock")
    with pytest.raises(TypeError):
        tasuki.Array("i", 3, tasuki.Lock())  # by its name only


class OnlyAcquire:
    """The least that the standard library accepts as a lock."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def acquire(self) -> None:
        self.calls.append("acquire")

    def release(self) -> None:
        self.calls.append("release")


def test_a_lock_of_somebody_else_is_taken_for_each_access() -> None:
    lock = OnlyAcquire()
    value, string = tasuki.Value("i", 1, lock=lock), tasuki.Array("c", b"ab", lock=lock)
    value.value += 1
    assert (value.value, string.value, string[0]) == (2, b"ab", b"a")
    assert lock.calls == ["acquire", "release"] * 5
    foreign = tasuki.Array("i", 3, lock=threading.RLock())
    with foreign:
        foreign[1] = 2
    assert foreign[:] == [0, 2, 0]


def test_wrappers_are_of_the_standard_classes() -> None:
    standard = multiprocessing.sharedctypes
    assert isinstance(tasuki.Array("i", 1), standard.SynchronizedArray)
    assert isinstance(tasuki.Array("c", 1), standard.SynchronizedString)
    assert isinstance(tasuki.Array(Point, 1), standard.SynchronizedArray)
    assert isinstance(tasuki.Value("i"), standard.Synchronized)
    assert isinstance(tasuki.Value(Point), standard.SynchronizedBase)
    assert "wrapper for" in repr(tasuki.Array("i", 1))


def test_strings_have_value_and_raw() -> None:
    string = tasuki.Array("c", 8)
    string.value = b"sash"
    assert (string.value, string.raw, len(string)) == (b"sash", b"sash\0\0\0\0", 8)
    string.raw = b"12345678"
    assert string.value == b"12345678" and string[2:4] == b"34"
    assert b"".join(string) == b"12345678"


def test_arrays_of_structures_unions_and_arrays() -> None:
    points = tasuki.Array(Point, [(1, 0.5), (2, 1.5)])
    points[1].x = 7
    points[0] = Point(3, 3.5)
    assert [(point.x, point.y) for point in points] == [(3, 3.5), (7, 1.5)]
    either = tasuki.Value(Either, 0x01020304)
    assert list(either.bytes) == [4, 3, 2, 1]
    grid = tasuki.Array(ctypes.c_int * 3, 2)
    grid[1][2] = 5
    assert [list(row) for row in grid] == [[0, 0, 0], [0, 0, 5]]


def test_copy_is_a_new_object_in_shared_memory(ctx: Any) -> None:
    for original in (Point(2, 5.0), (ctypes.c_int * 3)(1, 2, 3), ctypes.c_double(0.5), tasuki.RawArray("i", [1, 2])):
        copied = sharedctypes.copy(original)
        assert type(copied) is type(original) and bytes(copied) == bytes(original)
        before = bytes(original)
        ctypes.memset(ctypes.addressof(original), 1, ctypes.sizeof(original))
        assert bytes(copied) == before
        assert isinstance(copied._wrapper, heap.BufferWrapper)


def test_synchronized_wraps_anything_that_ctypes_has() -> None:
    raw = tasuki.RawArray("i", [1, 2, 3])
    wrapped = sharedctypes.synchronized(raw)
    assert wrapped.get_obj() is raw and wrapped[:] == [1, 2, 3]
    # The lock lies beside the memory: whoever wraps the same array gets the same.
    with sharedctypes.synchronized(raw):
        assert wrapped.get_lock().locked()
    lock = tasuki.Lock()
    assert sharedctypes.synchronized(tasuki.RawValue("i", 4), lock).get_lock() is lock
    private = sharedctypes.synchronized((ctypes.c_int * 2)(1, 2))
    private[0] = 8
    assert private[:] == [8, 2]
    with pytest.raises(TypeError, match="tasuki's own memory"):
        private.fetch_add(0, 1)
    number = sharedctypes.synchronized(ctypes.c_int(4))
    number.value += 1
    assert number.value == 5


def _double(numbers: Any, string: Any, points: Any, raw: Any, value: Any, grid: Any) -> None:
    with numbers:
        for index in range(len(numbers)):
            numbers[index] *= 2
    string.value = string.value.upper()
    points[1].x *= 2
    raw[0] *= 2
    value.value *= 2
    grid[1][1] *= 2


def _all() -> tuple[Any, ...]:
    return (
        tasuki.Array("d", [0.5, 1.5, 2.5]),
        tasuki.Array("c", b"sash"),
        tasuki.Array(Point, [(1, 0.5), (2, 1.5)]),
        tasuki.RawArray("q", [4, 5]),
        tasuki.RawValue("i", 21),
        tasuki.RawArray(ctypes.c_short * 2, [(1, 2), (3, 4)]),
    )


def _check(numbers: Any, string: Any, points: Any, raw: Any, value: Any, grid: Any) -> None:
    assert numbers[:] == [1, 3, 5]
    assert string.value == b"SASH"
    assert (points[1].x, points[1].y) == (4, 1.5)
    assert raw[:] == [8, 5]
    assert value.value == 42
    assert list(grid[1]) == [3, 8]


def test_arguments_of_a_process_are_shared(ctx: Any) -> None:
    shared = _all()
    process = ctx.Process(target=_double, args=shared)
    process.start()
    process.join(120)
    assert process.exitcode == 0
    _check(*shared)


def _double_what_comes(jobs: Any, done: Any) -> None:
    shared = jobs.get(timeout=120)
    _double(*shared)
    done.put(shared)


def test_they_travel_through_a_queue_at_any_time(ctx: Any) -> None:
    jobs, done = ctx.Queue(), ctx.Queue()
    process = ctx.Process(target=_double_what_comes, args=(jobs, done))
    process.start()
    shared = _all()
    jobs.put(shared)
    back = done.get(timeout=120)
    process.join(120)
    _check(*shared)
    _check(*back)
    back[0][0] = -1
    assert shared[0][0] == -1
    with back[0]:
        assert shared[0].get_lock().locked()


def _double_over_a_pipe(end: Any) -> None:
    _double(*end.recv())
    end.send("done")


def test_they_travel_through_a_pipe(ctx: Any) -> None:
    ours, theirs = ctx.Pipe()
    process = ctx.Process(target=_double_over_a_pipe, args=(theirs,))
    process.start()
    shared = _all()
    ours.send(shared)
    assert ours.recv() == "done"
    process.join(120)
    _check(*shared)


def test_wrappers_can_be_pickled_by_anybody() -> None:
    shared = tasuki.Array("i", [1, 2])
    again = pickle.loads(pickle.dumps(shared))
    again[0] = 5
    assert shared[:] == [5, 2]


def _double_messagepack(jobs: Any, done: Any) -> None:
    request = jobs.get(timeout=120)
    with request["numbers"]:
        request["numbers"][:] = [2 * number for number in request["numbers"]]
    request["raw"][0] = 7
    request["points"][0].raw = bytes(Point(1, 0.5))
    done.put([request["numbers"], type(request["numbers"][0]).__name__, len(request["one"]), len(request["none"])])


def test_they_travel_in_messagepack(ctx: Any) -> None:
    jobs, done = ctx.Queue(codec="msgpack"), ctx.Queue(codec="msgpack")
    process = ctx.Process(target=_double_messagepack, args=(jobs, done))
    process.start()
    numbers, raw, points = tasuki.Array("d", [0.5, 1.5]), tasuki.RawArray("B", 3), tasuki.Array(Point, 2)
    one, none = tasuki.Array("i", 1), tasuki.Array("i", 0)
    jobs.put({"numbers": numbers, "raw": raw, "points": points, "one": one, "none": none})
    back, kind, *lengths = done.get(timeout=120)
    process.join(120)
    assert (numbers[:], raw[:], kind, lengths) == ([1.0, 3.0], [7, 0, 0], "float", [1, 0])
    assert (points[0].x, points[0].y) == (1, 0.5)
    back[0] = -1
    assert numbers[0] == -1
    with pytest.raises(TypeError, match="lock of another object"):
        jobs.put(tasuki.Array("i", 1, lock=tasuki.Lock()))


def test_numpy_sees_the_memory_and_keeps_it() -> None:
    shared = tasuki.Array("d", 1000)
    view = numpy.frombuffer(shared.get_obj())
    again = numpy.ctypeslib.as_array(shared.get_obj())
    view[5] = 0.5
    again[6] = 1.5
    assert shared[5:7] == [0.5, 1.5]
    copy = pickle.loads(pickle.dumps(shared))
    raw = numpy.frombuffer(tasuki.RawArray("i", [7] * 5000), dtype=ctypes.c_int)
    del shared
    gc.collect()
    copy[5] = 2.5
    assert (view[5], again[5], raw.sum()) == (2.5, 2.5, 35000)
    grid = numpy.ctypeslib.as_array(tasuki.RawArray(ctypes.c_int * 3, 2))
    assert grid.shape == (2, 3)


def test_ten_thousand_creations_and_drops_leave_nothing() -> None:
    def create() -> None:
        tasuki.Array("i", 10)
        tasuki.RawArray("d", 3)
        tasuki.RawValue(Point, 1, 2)
        heap.BufferWrapper(100)
        tasuki.RawArray("d", 1000)

    for _ in range(1000):
        create()
    gc.collect()
    before, memory = descriptors(), resident()
    for _ in range(10_000):
        create()
    for _ in range(200):
        tasuki.Array("d", 100_000)  # a segment each
    gc.collect()
    assert descriptors() == before
    assert resident() - memory < 8 << 20


def test_a_killed_holder_is_reported_and_what_it_wrote_stays(ctx: Any) -> None:
    shared, ready = ctx.Array("i", 3), ctx.Queue()
    process = ctx.Process(target=_hold, args=(shared, ready))
    process.start()
    assert ready.get(timeout=120) == "held"
    process.kill()
    process.join(120)
    with pytest.raises(tasuki.OwnerDied):
        shared[0]
    assert shared[:] == [5, 0, 0]


def test_what_is_to_happen_after_a_death_travels_along() -> None:
    shared, mail = tasuki.Array("i", 1), tasuki.Queue()
    shared.get_lock().on_owner_died = "ignore"
    mail.put(shared)
    assert mail.get(timeout=120).get_lock().on_owner_died == "ignore"


def _hold(shared: Any, ready: Any) -> None:
    shared.acquire()
    shared[0] = 5
    ready.put("held")
    signal.pause()


class Interrupted(Exception):
    pass


def test_a_signal_handler_that_raises_never_leaves_a_lock_held() -> None:
    def interrupt(*_: Any) -> None:
        raise Interrupted

    arrays = [tasuki.Array("i", 3), tasuki.Value("i"), tasuki.Value(Point), tasuki.Array("c", 3)]
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        for _ in range(300):
            signal.setitimer(signal.ITIMER_REAL, 0.0005)
            try:
                while True:
                    arrays[0][0] = arrays[0][1]
                    with arrays[0]:
                        pass
                    arrays[1].value = arrays[1].value
                    arrays[2].x = arrays[2].x
                    with arrays[2]:
                        pass
                    arrays[3].value = arrays[3].raw
            except Interrupted:
                pass
            assert not any(shared.get_lock().locked() for shared in arrays)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_the_memory_below() -> None:
    block = heap.BufferWrapper(100)
    view = block.create_memoryview()
    assert (len(view), view.nbytes, bytes(view)) == (100, 100, bytes(100))
    view[5] = 7
    again = pickle.loads(pickle.dumps(block)).create_memoryview()
    del block
    assert again[5] == 7
    view[6] = 8
    assert again[6] == 8
    assert len(heap.BufferWrapper(0).create_memoryview()) == 0
    for size, error in ((-1, ValueError), (2**63 - 1, OverflowError)):
        with pytest.raises(error):
            heap.BufferWrapper(size)
    assert heap.Heap is multiprocessing.heap.Heap and heap.Arena is multiprocessing.heap.Arena


def test_install_gives_unchanged_programs_the_same(run: Any) -> None:
    done = run(
        """
        import multiprocessing

        def work(numbers, raw):
            numbers[0] += raw[0]

        if __name__ == "__main__":
            multiprocessing.set_start_method("spawn")
            numbers, raw = multiprocessing.Array("i", [1, 2]), multiprocessing.RawArray("i", [5])
            process = multiprocessing.Process(target=work, args=(numbers, raw))
            process.start()
            process.join()
            print(numbers[:], type(numbers).__module__)
        """,
        m="tasuki",
    )
    assert done.stdout.split() == ["[6,", "2]", "tasuki.sharedctypes"]
