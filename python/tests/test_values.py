"""Value: a ctypes object in shared memory with its lock, as the standard library has it."""

from __future__ import annotations

import ctypes
import multiprocessing.sharedctypes
import threading
from typing import Any

import pytest

from working import Point
import tasuki


@pytest.mark.parametrize(
    "code, values",
    [
        ("b", (-128, 127)),
        ("B", (0, 255)),
        ("h", (-5, 5)),
        ("i", (-(2**31), 2**31 - 1)),
        ("q", (-(2**63), 2**63 - 1)),
        ("Q", (0, 2**64 - 1)),
        ("d", (0.5, -1e300)),
        ("f", (0.5,)),
        ("c", (b"x",)),
        ("u", ("襷",)),
        (ctypes.c_bool, (True, False)),
    ],
)
def test_every_type_code(code: Any, values: tuple[Any, ...]) -> None:
    for value in values:
        v = tasuki.Value(code, value)
        assert v.value == value
        v.value = values[0]
        assert v.value == values[0]
        assert tasuki.Value(code, value, lock=False).value == value


@pytest.mark.parametrize("code", ["x", "", "ii", None, int, 5])
def test_what_is_no_type_code(code: Any) -> None:
    for make in (tasuki.Value, tasuki.RawValue):
        with pytest.raises(TypeError, match="bad typecode .* c, .*, d"):
            make(code, 1)
    if isinstance(code, str):
        for make in (tasuki.Array, tasuki.RawArray):
            with pytest.raises(TypeError, match="bad typecode"):
                make(code, [])
            with pytest.raises(TypeError, match="bad typecode"):
                make(code, 2)


def test_what_does_not_fit_is_treated_as_ctypes_does() -> None:
    for code, value in (("b", 200), ("B", -1), ("i", 2**40 + 5), ("q", 2**63), ("Q", -1), ("f", 0.1), ("d", 3)):
        plain = tasuki.sharedctypes.typecode_to_type[code](value)
        v = tasuki.Value(code)
        v.value = value
        assert v.value == plain.value and type(v.value) is type(plain.value)
    flag = tasuki.Value(ctypes.c_bool)
    flag.value = []
    assert flag.value is False
    for code, value in (("i", 1.5), ("i", "1"), ("d", "1"), ("q", None)):
        v = tasuki.Value(code)
        with pytest.raises(TypeError):
            v.value = value
        assert v.value == 0
        assert v.get_lock().acquire(False)  # and the lock is free
        v.get_lock().release()


def test_types_with_the_other_end_first() -> None:
    v = tasuki.Value(ctypes.c_int32.__ctype_be__)
    v.value = 1
    assert v.value == 1 and bytes(v.get_obj()) == b"\0\0\0\1"


def test_a_new_value_is_zero() -> None:
    assert tasuki.Value("d").value == 0.0
    assert tasuki.Value(Point).x == 0


def test_structures_have_their_fields_as_properties() -> None:
    v = tasuki.Value(Point, 3, 4.5)
    assert (v.x, v.y) == (3, 4.5)
    v.x = 7
    assert v.get_obj().x == 7
    assert isinstance(v, multiprocessing.sharedctypes.SynchronizedBase)


def test_arrays_of_characters_have_value_and_raw() -> None:
    v = tasuki.Value(ctypes.c_char * 8, *b"sash")
    assert v.value == b"sash" and v.raw == b"sash\0\0\0\0"
    v.value = b"baton"
    assert v.value == b"baton" and len(v) == 8 and v[0] == b"b"


def test_the_lock_argument() -> None:
    lock = tasuki.Lock()
    assert tasuki.Value("i", lock=lock).get_lock() is lock
    assert isinstance(tasuki.Value("i").get_lock(), multiprocessing.synchronize.RLock)
    assert not hasattr(tasuki.Value("i", lock=False), "get_lock")
    with pytest.raises(AttributeError, match="has no method 'acquire'"):
        tasuki.Value("i", lock="no lock")


def test_a_value_is_a_context_manager_and_its_lock_can_be_taken_again() -> None:
    v = tasuki.Value("i", 1)
    with v, v.get_lock():
        v.value += 1
    v.acquire()
    v.release()
    assert v.value == 2


def _add(v: Any, times: int) -> None:
    for _ in range(times):
        with v.get_lock():
            v.value += 1


def test_adding_under_the_lock_loses_nothing(ctx: Any) -> None:
    v = ctx.Value("q", 0)
    processes = [ctx.Process(target=_add, args=(v, 2000)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert v.value == 6000


def test_threads_exclude_each_other() -> None:
    v = tasuki.Value("q", 0)
    threads = [threading.Thread(target=_add, args=(v, 2000)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert v.value == 6000


def _set(raw: Any, point: Any) -> None:
    raw.value = 42
    point.x, point.y = 1, 2.5


def test_raw_objects_and_structures_are_shared(ctx: Any) -> None:
    raw, point = ctx.Value("i", lock=False), ctx.Value(Point)
    process = ctx.Process(target=_set, args=(raw, point))
    process.start()
    process.join(120)
    assert process.exitcode == 0
    assert (raw.value, point.x, point.y) == (42, 1, 2.5)


def test_values_of_the_standard_library_and_ours_of_one_type_live_together(ctx: Any) -> None:
    ours, standard = ctx.Value("l", 1, lock=False), ctx.RawValue("l", 2)
    again = ctx.Value("l", 3, lock=False)
    process = ctx.Process(target=_sum, args=(ours, standard, again))
    process.start()
    process.join(120)
    assert ours.value == 6


def _sum(ours: Any, standard: Any, again: Any) -> None:
    ours.value = ours.value + standard.value + again.value


def test_big_objects_and_many_small_ones() -> None:
    big = tasuki.Value(ctypes.c_char * 5_000_000, lock=False)
    big[4_999_999] = b"!"
    assert big[4_999_999] == b"!" and big[0] == b"\0"
    values = [tasuki.Value("i", number) for number in range(5000)]
    assert sum(v.value for v in values) == sum(range(5000))


def test_memory_is_zero_again_after_it_was_given_back() -> None:
    for _ in range(3):
        values = [tasuki.Value("i", -1) for _ in range(100)]
        del values
        assert [tasuki.Value("i").value for _ in range(100)] == [0] * 100
