"""MessagePack between Python objects and bytes: what it promises, one test a promise."""

import array
import collections
import decimal
import enum
import fractions
import math
import random
import struct

import pytest

from tasuki._tasuki import _pack, _unpack

ROUND_TRIPS = [
    None,
    True,
    False,
    0,
    -1,
    127,
    128,
    -32,
    -33,
    2**16,
    -(2**31) - 1,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64 - 1,
    0.0,
    -0.0,
    1.5,
    math.inf,
    "",
    "räum auf",
    "\0" * 40,
    "a" * 70_000,
    b"",
    b"\xff" * 300,
    b"b" * 70_000,
    [],
    [1, [2, [3, []]]],
    list(range(70_000)),
    {},
    {"a": {"b": [None, {"c": 1.5}]}},
    {i: str(i) for i in range(70_000)},
    {1: "int", "1": "str", None: 0, 1.5: 0, b"b": 0, (1, (2,)): 0},
]


@pytest.mark.parametrize("value", ROUND_TRIPS, ids=lambda value: repr(value)[:20])
def test_what_is_packed_comes_back(value):
    back = _unpack(_pack(value))
    assert back == value
    assert type(back) is type(value)


@pytest.mark.parametrize("value", [True, 1, 1.0, -0.0])
def test_numbers_keep_their_type(value):
    assert repr(_unpack(_pack(value))) == repr(value)


def test_a_nan_keeps_its_bits():
    (nan,) = struct.unpack("<d", bytes.fromhex("efbeadde0000f87f"))
    assert struct.pack("<d", _unpack(_pack(nan))) == struct.pack("<d", nan)


def test_bytes_are_what_the_format_says():
    assert _pack([1, -1, None, True, "a", b"a", 300, {"k": 0.5}]) == bytes.fromhex(
        "9801ffc0c3a161c40161cd012c81a16bcb3fe0000000000000"
    )


def test_other_buffers_and_tuples_come_back_as_bytes_and_lists():
    view = memoryview(array.array("i", [1, 2, 3]))[::2]
    packed = _pack((bytearray(b"ab"), memoryview(b"cd"), view))
    assert _unpack(packed) == [b"ab", b"cd", view.tobytes()]


def test_subclasses_are_packed_as_what_they_are():
    class Colour(enum.IntEnum):
        RED = 3

    Point = collections.namedtuple("Point", "x y")
    values = [Colour.RED, Point(1, 2), collections.OrderedDict(a=1), collections.Counter("aab")]
    assert _unpack(_pack(values)) == [3, [1, 2], {"a": 1}, {"a": 2, "b": 1}]


def test_what_says_that_it_is_an_integer_is_packed_as_one():
    class Index:
        def __index__(self):
            return 7

    assert _unpack(_pack([Index()])) == [7]


def test_what_converts_itself_to_a_float_is_packed_only_without_a_loss():
    assert _unpack(_pack(fractions.Fraction(1, 2))) == 0.5
    assert _unpack(_pack(decimal.Decimal("0.25"))) == 0.25
    for inexact in [fractions.Fraction(1, 3), decimal.Decimal("0.1")]:
        with pytest.raises(TypeError, match="cannot be written as MessagePack"):
            _pack(inexact)


def test_numpy_scalars_are_numbers_and_arrays_are_not():
    numpy = pytest.importorskip("numpy", reason="numpy is not installed")
    values = [numpy.int8(-3), numpy.uint64(2**64 - 1), numpy.float32(0.1), numpy.bool_(True)]
    back = _unpack(_pack(values))
    assert back == [-3, 2**64 - 1, float(numpy.float32(0.1)), True]
    assert back[3] is True
    assert _unpack(_pack([numpy.float64("nan"), numpy.array(5)]))[1] == 5
    for several in [numpy.array([1.5]), numpy.zeros((2, 2))]:
        with pytest.raises(TypeError, match=r"a numpy\.ndarray at \[0\]"):
            _pack([several])


def test_a_type_that_messagepack_lacks_is_named_with_its_place_and_the_way_out():
    with pytest.raises(TypeError) as raised:
        _pack([1, 2, {"x": (0, {1, 2})}])
    text = str(raised.value)
    assert text.startswith("a set at [2]['x'][1] cannot be written as MessagePack: ")
    assert "pickle" in text
    with pytest.raises(TypeError, match="a complex cannot be written"):
        _pack(1j)
    with pytest.raises(TypeError, match=r"a frozenset at \(in the key frozenset\(\{1\}\)\)"):
        _pack({frozenset({1}): 0})


def test_a_class_is_not_an_instance():
    for kind in [int, float, enum.IntEnum]:
        with pytest.raises(TypeError):
            _pack(kind)


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, 10**5000], ids=lambda n: str(n.bit_length()))
def test_a_wide_integer_is_refused_with_its_place(value):
    with pytest.raises(OverflowError, match=rf"an integer of {value.bit_length()} bits at \['n'\]"):
        _pack({"n": value})


def test_a_cycle_is_an_error():
    cycle = [0]
    cycle.append({"again": cycle})
    with pytest.raises(ValueError, match="or contains itself"):
        _pack(cycle)


def test_depth_is_limited_in_both_directions():
    def nested(levels):
        value = None
        for _ in range(levels):
            value = [value]
        return value

    assert _unpack(_pack(nested(128))) == nested(128)
    with pytest.raises(ValueError, match="nested deeper than 128"):
        _pack(nested(129))
    # What Rust may write is read.
    assert _unpack(b"\x91" * 256 + b"\xc0") == nested(256)
    for marker in [b"\x91", b"\x81\xa1a", b"\xdc\x00\x01"]:
        with pytest.raises(ValueError, match="nested deeper than 256"):
            _unpack(marker * 100_000 + b"\xc0")


def test_what_an_object_raises_is_kept_and_gets_the_place():
    class Broken:
        def __index__(self):
            raise ZeroDivisionError("broken")

    with pytest.raises(ZeroDivisionError, match="broken") as raised:
        _pack([Broken()])
    assert raised.value.__notes__ == ["while packing the object at [0] as MessagePack"]
    with pytest.raises(UnicodeEncodeError):
        _pack("\ud800")


def test_containers_that_change_while_they_are_packed_do_no_harm():
    class Index:
        def __init__(self, action):
            self.action = action

        def __index__(self):
            self.action()
            return 1

    shrinking = []
    shrinking += [Index(shrinking.clear), 2, 3]
    with pytest.raises(RuntimeError, match="became shorter"):
        _pack(shrinking)
    growing = []
    growing.append(Index(lambda: growing.append(2)))
    assert _unpack(_pack(growing)) == [1]
    changing = {}
    changing.update(a=Index(changing.clear), b=2)
    assert _unpack(_pack(changing)) == {"a": 1, "b": 2}


class Handle:
    def __init__(self, record):
        self.record = record


def record_of(obj):
    return obj.record if isinstance(obj, Handle) else None


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 8, 16, 40, 300, 70_000])
def test_handles_travel_as_records(size):
    packed = _pack({"jobs": [Handle(bytes(size))]}, record_of)
    back = _unpack(packed, Handle)
    assert back["jobs"][0].record == bytes(size)
    if size == 2:
        assert packed.endswith(b"\xd5\x54\0\0")


def test_what_the_handle_callback_raises_passes():
    def refuse(_):
        raise LookupError("no such handle")

    with pytest.raises(LookupError):
        _pack([Handle(b"")], refuse)
    with pytest.raises(LookupError):
        _unpack(b"\xd4\x54\0", refuse)


def test_an_extension_that_is_no_handle_is_an_error():
    with pytest.raises(ValueError, match="extension of type -1"):
        _unpack(b"\xd6\xff\0\0\0\0")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "ends in the middle"),
        (b"\x91", "ends in the middle"),
        (b"\xdd\xff\xff\xff\xff", "ends in the middle"),
        (b"\xdf\xff\xff\xff\xff\x01", "ends in the middle"),
        (b"\xc6\xff\xff\xff\xff", "ends in the middle"),
        (b"\xc9\xff\xff\xff\xff\x54", "ends in the middle"),
        (b"\x01\x01", "goes on after its value"),
        (b"\xc1", "means nothing"),
        (b"\xa1\xff", "not UTF-8"),
    ],
)
def test_damage_is_an_error_that_says_what_is_wrong(data, words):
    with pytest.raises(ValueError, match=f"this message is damaged: .*{words}"):
        _unpack(data)


def test_a_key_that_python_cannot_hash_is_an_error():
    with pytest.raises(TypeError, match="unhashable"):
        _unpack(b"\x81\x80\x01")


def test_random_and_damaged_bytes_never_do_harm():
    generator = random.Random(54)
    original = _pack(ROUND_TRIPS[:25] + [{"a": [1, {"b": b"c"}]}] * 20)
    for _ in range(5_000):
        if generator.random() < 0.5:
            data = generator.randbytes(generator.randrange(40))
        else:
            data = bytearray(original)
            for _ in range(generator.randrange(1, 4)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            data = bytes(data[: generator.randrange(len(data) + 1)])
        try:
            _unpack(data, Handle)
        except (ValueError, TypeError):
            pass
