"""ShareableList: the standard library's list to the byte, without what it loses."""

from __future__ import annotations

import enum
import multiprocessing.shared_memory
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tasuki.shared_memory import ShareableList, SharedMemory

STANDARD = multiprocessing.shared_memory.ShareableList
ITEMS = ["howdy", b"HoWdY", -273.154, 100, None, True, False, 42, "襷", "", b"", -(2**63), 2**63 - 1, float("inf")]


@pytest.fixture
def make() -> Iterator[Callable[..., Any]]:
    """Makes lists that are gone after the test: `make(class, items)`."""
    made: list[Any] = []

    def make(cls: Any, items: Any) -> Any:
        made.append(cls(items))
        return made[-1]

    yield make
    for items in made:
        items.shm.close()
        try:
            items.shm.unlink()
        except FileNotFoundError:
            pass


def test_the_bytes_are_those_of_the_standard_library(make: Any) -> None:
    for items in (ITEMS, [], ["x" * n for n in range(30)], [b"y" * n for n in range(30)], range(100)):
        ours, theirs = make(ShareableList, items), make(STANDARD, items)
        assert bytes(ours.shm.buf) == bytes(theirs.shm.buf)
        assert ours.format == theirs.format
        assert list(ours) == list(items)


def test_both_read_and_write_one_list(make: Any) -> None:
    for here, there in ((ShareableList, STANDARD), (STANDARD, ShareableList)):
        first = make(here, ITEMS)
        second = there(name=first.shm.name)
        assert list(second) == ITEMS and repr(list(second)) == repr(list(first))
        for position, value in enumerate(reversed([7, 2.5, None, True, "text", b"bytes", "12345678"] * 2)):
            second[position] = value
            assert first[position] == second[position] == value
            assert type(first[position]) is type(value)
        assert first.format == second.format
        second.shm.close()


def test_it_is_a_standard_one_for_those_who_ask(make: Any) -> None:
    ours = make(ShareableList, ITEMS)
    assert isinstance(ours, STANDARD) and type(ours.shm) is SharedMemory
    assert repr(ours) == f"ShareableList({ITEMS!r}, name={ours.shm.name!r})"
    assert len(ours) == len(ITEMS) and ours[-1] == ITEMS[-1] and 100 in ours
    assert ours.count(100) == 1 and ours.count("nothing") == 0 and ours.index(b"HoWdY") == 1
    with pytest.raises(ValueError, match="'nothing' not in this container"):
        ours.index("nothing")
    assert ShareableList[int]


def test_positions_outside_are_index_errors(make: Any) -> None:
    ours = make(ShareableList, [1, 2])
    for position in (2, -3, 10**30):
        with pytest.raises(IndexError, match="^index out of range"):
            ours[position]
        with pytest.raises(IndexError, match="^assignment index out of range"):
            ours[position] = 1
    with pytest.raises(TypeError):
        ours["0"]


def test_nuls_at_the_end_are_kept_and_the_standard_library_reads_on(make: Any) -> None:
    items = [b"\0", b"a\0\0", "text\0", b"1234567\0", b"\0" * 8, "\0", b"a\0b"]
    ours = make(ShareableList, items)
    assert list(ours) == items
    theirs = STANDARD(name=ours.shm.name)
    assert list(theirs) == [item.rstrip(type(item)(b"\0") if isinstance(item, bytes) else "\0") for item in items]
    # What the standard library writes is read as it was meant, whatever was there.
    for position in range(len(items)):
        theirs[position] = "seven77"
        assert ours[position] == "seven77"
        ours[position] = b"x\0"
        assert ours[position] == b"x\0" and theirs[position] == b"x"
    theirs.shm.close()


def test_text_gets_as_much_room_as_it_needs(make: Any) -> None:
    items = ["é" * n for n in range(40)] + ["襷" * 9]
    assert list(make(ShareableList, items)) == items


def test_what_does_not_fit_is_a_value_error_and_changes_nothing(make: Any) -> None:
    ours = make(ShareableList, ["12345678", 1])
    for position, value in ((0, "x" * 17), (1, b"123456789"), (1, 2**63), (0, -(2**63) - 1)):
        with pytest.raises(ValueError):
            ours[position] = value
    with pytest.raises(ValueError, match="exceeds available storage"):
        ours[1] = "more than eight"
    assert list(ours) == ["12345678", 1] and ours.format == "16sq"
    for items in ([2**63], [b"x" * 10_000_000], [b"\0" * 1_000_000]):
        with pytest.raises(ValueError):
            ShareableList(items)


def test_what_is_no_item_is_a_type_error(make: Any) -> None:
    ours = make(ShareableList, [1])
    for value in ([], object(), 1j, bytearray(b"x")):
        with pytest.raises(TypeError, match="an item of a ShareableList is"):
            ours[0] = value
    assert list(ours) == [1]


class Colour(enum.IntEnum):
    RED = 3


def test_what_is_an_int_or_a_float_is_one(make: Any) -> None:
    import numpy

    assert list(make(ShareableList, [Colour.RED, numpy.float64(0.5)])) == [3, 0.5]


def test_it_is_made_of_anything_that_can_be_iterated(make: Any) -> None:
    import numpy

    assert list(make(ShareableList, (n * n for n in range(4)))) == [0, 1, 4, 9]
    assert list(make(ShareableList, "relay")) == list("relay")
    assert list(make(ShareableList, numpy.arange(3.0))) == [0.0, 1.0, 2.0]
    assert list(make(ShareableList, make(ShareableList, ITEMS))) == ITEMS


def test_a_name_can_be_chosen_and_is_whole_from_the_start() -> None:
    name = "tasuki-test-list"
    ours = ShareableList([1, "two"], name=name)
    try:
        assert ours.shm.name == name
        with pytest.raises(FileExistsError):
            ShareableList([3], name=name)
        assert list(ShareableList(name=name)) == [1, "two"]
    finally:
        ours.shm.unlink()
    with pytest.raises(FileNotFoundError):
        ShareableList(name=name)


def test_memory_that_holds_no_list_is_a_value_error() -> None:
    memory = SharedMemory(create=True, size=4096)
    memory.buf[:8] = b"\xff" * 8
    try:
        with pytest.raises(ValueError, match="holds no list"):
            ShareableList(name=memory.name)
    finally:
        memory.unlink()


def test_a_closed_list_is_an_error_and_no_crash(make: Any) -> None:
    ours = make(ShareableList, [1])
    ours.shm.close()
    with pytest.raises(ValueError, match="closed"):
        ours[0]


def _double(items: Any) -> None:
    for position, value in enumerate(items):
        items[position] = value * 2


def test_it_is_an_argument_and_a_message(make: Any, ctx: Any) -> None:
    ours = make(ShareableList, range(5))
    process = ctx.Process(target=_double, args=(ours,))
    process.start()
    process.join(120)
    assert process.exitcode == 0 and list(ours) == [0, 2, 4, 6, 8]
    queue = ctx.Queue()
    queue.put(ours)
    same = queue.get(timeout=120)
    assert type(same) is ShareableList and list(same) == list(ours)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(ours, protocol)).shm.name == ours.shm.name
