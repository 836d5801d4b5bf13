"""Atomic operations on shared numbers: nothing is lost, no lock is taken, and integers wrap as ctypes' do."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy
import pytest

import tasuki

INTEGERS = "bBhHiIlLqQ"


@pytest.mark.parametrize("code", INTEGERS)
def test_integers_wrap_as_ctypes_does(code: str) -> None:
    type_ = tasuki.sharedctypes.typecode_to_type[code]
    most = type_(-1).value if type_(-1).value > 0 else 2 ** (8 * ctypes.sizeof(type_) - 1) - 1
    value, items = tasuki.Value(code, most), tasuki.Array(code, [1, most, 3])
    assert value.fetch_add(1) == items.fetch_add(1, 1) == most
    assert value.value == items[1] == value.load() == items.load(1) == type_(most + 1).value
    assert value.fetch_sub(2**70 + 3) == type_(most + 1).value
    assert value.exchange(-5) == type_(most - 2).value
    assert value.value == type_(-5).value
    value.store(2**64 + 6)
    assert value.value == 6
    assert items[:] == [1, type_(most + 1).value, 3]


@pytest.mark.parametrize("code", INTEGERS)
def test_every_operation_returns_what_was_there(code: str) -> None:
    value, items = tasuki.Value(code, 12), tasuki.Array(code, [0, 12])
    assert value.fetch_and(6) == items.fetch_and(1, 6) == 12
    assert value.fetch_or(3) == items.fetch_or(1, 3) == 4
    assert value.fetch_xor(5) == items.fetch_xor(1, 5) == 7
    assert value.fetch_sub(1) == items.fetch_sub(1, 1) == 2
    assert value.exchange(9) == items.exchange(1, 9) == 1
    assert (value.compare_exchange(9, 4), items.compare_exchange(1, 9, 4)) == (True, True)
    assert (value.compare_exchange(9, 5), items.compare_exchange(1, 9, 5)) == (False, False)
    items.store(0, 8)
    assert (value.value, items[:]) == (4, [8, 4])


@pytest.mark.parametrize("code", "fd")
def test_floats_add_and_compare_by_their_bits(code: str) -> None:
    value, items = tasuki.Value(code, 1.5), tasuki.Array(code, 2)
    assert value.fetch_add(0.25) == 1.5 and value.fetch_sub(2) == 1.75
    assert value.compare_exchange(-0.25, 0.0) and not value.compare_exchange(-0.0, 1.0)
    assert value.exchange(math.nan) == 0.0
    assert value.compare_exchange(math.nan, 2.5) and value.load() == 2.5
    assert items.fetch_add(-1, 0.5) == 0 and items[:] == [0, 0.5]
    for operation in ("fetch_and", "fetch_or", "fetch_xor"):
        with pytest.raises(TypeError, match="no bits to set in a float"):
            getattr(value, operation)(1)


def test_bools_are_exchanged_and_have_one_bit() -> None:
    flag = tasuki.Value(ctypes.c_bool, False)
    assert flag.exchange(True) is False and flag.load() is True
    assert flag.compare_exchange(True, False) and not flag.compare_exchange(True, False)
    assert flag.fetch_or([1]) is False and flag.fetch_and(0) is True and flag.fetch_xor(True) is False
    with pytest.raises(TypeError, match="no adding to a bool"):
        flag.fetch_add(1)


def test_what_is_no_number_is_refused() -> None:
    value, items = tasuki.Value("i", 1), tasuki.Array("d", 3)
    for wrong in (1.5, "1", None, b"1"):
        with pytest.raises(TypeError):
            value.fetch_add(wrong)
    with pytest.raises(TypeError):
        items.fetch_add(0, "1")
    with pytest.raises(TypeError):
        items.store(0, None)
    assert value.fetch_add(numpy.int16(4)) == 1 and value.fetch_add(True) == 5
    assert items[:] == [0, 0, 0]
    for other in (tasuki.Array("c", 3), tasuki.Array("u", 3), tasuki.Array(ctypes.c_int * 2, 2)):
        with pytest.raises(TypeError, match="these are other elements"):
            other.fetch_add(0, 1)
    for lacking in (tasuki.Value("c"), tasuki.Value(ctypes.c_int32.__ctype_be__)):
        assert not hasattr(lacking, "fetch_add")


def test_an_index_is_one_inside() -> None:
    items = tasuki.Array("i", [1, 2, 3])
    assert [items.load(index) for index in (0, -1, -3, numpy.int64(1))] == [1, 3, 1, 2]
    for index in (3, -4, 2**63, -(2**80)):
        with pytest.raises(IndexError, match="there are 3 elements"):
            items.fetch_add(index, 1)
        with pytest.raises(IndexError):
            items.compare_exchange(index, 1, 1)
    for index in (slice(0, 2), "0", None, 1.0):
        with pytest.raises(TypeError, match="the index is an int"):
            items.fetch_add(index, 1)
    assert items[:] == [1, 2, 3]


def test_no_lock_is_taken() -> None:
    lock = tasuki.Lock()
    for value in (tasuki.Value("i"), tasuki.Value("i", lock=lock)):
        with value.get_lock():
            assert value.fetch_add(1) == 0
    with lock:
        assert tasuki.Array("i", 2, lock=lock).fetch_add(1, 5) == 0


def _add(value: Any, float_: Any, votes: Any, times: int) -> None:
    for n in range(times):
        value.fetch_add(1)
        float_.fetch_add(0.5)
        votes.fetch_add(n % 3, 1)
        while True:
            seen = votes.load(3)
            if votes.compare_exchange(3, seen, seen + 2):
                break


def test_operations_of_many_processes_are_all_counted(ctx: Any) -> None:
    value, float_, votes = ctx.Value("q"), ctx.Value("d"), ctx.Array("I", 4)
    processes = [ctx.Process(target=_add, args=(value, float_, votes, 3000)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
    assert (value.value, float_.value, votes[:]) == (9000, 4500.0, [3000, 3000, 3000, 18000])
