"""The wire lets plain data through unchanged, and nothing else, whatever bytes arrive."""

import contextlib
import os
import resource
import socket
import struct
import threading
import time
import tracemalloc

import msgpack
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from autograder.engine import wire
from autograder.engine.wire import Closed, Reference, WireError, pack, unpack

ATOMS = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.complex_numbers() | st.text(max_size=20) | st.binary(max_size=20)
    | st.integers(2**64, 2**2000)
)  # fmt: skip
KEYS = st.text(max_size=5) | st.integers() | st.tuples(st.text(max_size=3), st.integers(0, 9))
NESTED = st.recursive(
    ATOMS,
    lambda inner: st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=30,
)
NUMBERS = arrays.boolean_dtypes() | arrays.integer_dtypes(endianness="?") | arrays.unsigned_integer_dtypes(endianness="?")
NUMBERS |= arrays.floating_dtypes(endianness="?", sizes=(16, 32, 64)) | arrays.complex_number_dtypes(endianness="?", sizes=(64, 128))
ANY_ARRAY = arrays.arrays(NUMBERS, arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))


def same(before, after) -> bool:
    """The same type and the same value, down to the bits of a NaN."""
    if type(before) is not type(after):
        return False
    if isinstance(before, float):
        return struct.pack("d", before) == struct.pack("d", after)
    if isinstance(before, complex):
        return same(before.real, after.real) and same(before.imag, after.imag)
    if isinstance(before, list | tuple):
        return len(before) == len(after) and all(map(same, before, after))
    if isinstance(before, dict):
        return len(before) == len(after) and all(same(*pair) for pair in zip(before.items(), after.items(), strict=True))
    return before == after


@given(NESTED)
def test_nested_plain_data_arrives_as_it_was(value):
    assert same(value, unpack(pack(value)))


@given(ANY_ARRAY, st.sampled_from(["C", "F", "reversed", "every second"]))
def test_an_array_of_any_type_order_and_shape_arrives_as_it_was(array, order):
    if order in ("C", "F"):
        array = np.array(array, order=order)  # type: ignore[call-overload]
    elif array.ndim:
        array = array[::-1] if order == "reversed" else array[..., ::2]
    came = unpack(pack(array))
    assert type(came) is np.ndarray
    assert came.shape == array.shape
    assert came.dtype == array.dtype.newbyteorder("=")
    assert came.tobytes() == array.astype(came.dtype).tobytes()
    assert came.flags.writeable and came.flags.owndata | (came.base is not None)


@given(ANY_ARRAY.filter(lambda array: array.size > 0))
def test_a_numpy_scalar_keeps_its_type(array):
    scalar = array.reshape(-1)[0]
    came = unpack(pack(scalar))
    assert type(came) is type(scalar)
    assert came.tobytes() == scalar.astype(came.dtype).tobytes()


@given(
    st.sampled_from(wire.TENSOR_TYPES), st.lists(st.integers(0, 4), max_size=4), st.booleans(), st.sampled_from(["plain", "transposed", "conjugate"])
)
def test_a_tensor_of_any_type_and_layout_arrives_as_it_was(name, shape, wants_grad, view):
    tensor = (torch.randn(shape) * 10).to(getattr(torch, name))
    if view == "transposed":
        tensor = tensor.mT if tensor.dim() >= 2 else tensor
    elif view == "conjugate":
        tensor = tensor.conj()
    if tensor.is_floating_point() or tensor.is_complex():
        tensor.requires_grad_(wants_grad)
    came = unpack(pack(tensor))
    assert type(came) is torch.Tensor
    assert (came.dtype, came.shape, came.requires_grad) == (tensor.dtype, tensor.shape, tensor.requires_grad)
    assert torch.equal(came, tensor)


def test_a_parameter_arrives_as_a_tensor_that_wants_gradients():
    came = unpack(pack(torch.nn.Parameter(torch.ones(2))))
    assert type(came) is torch.Tensor and came.requires_grad


@pytest.mark.parametrize("bits", [0x7FF8000000000001, 0xFFF8DEADBEEF0000, 0x7FFFFFFFFFFFFFFF])
def test_the_payload_of_a_nan_crosses_and_means_nothing(bits):
    number = struct.unpack(">d", bits.to_bytes(8, "big"))[0]
    assert np.isnan(unpack(pack(number)))
    assert np.isnan(unpack(pack(np.array([number])))).all()


def test_a_truth_value_is_0_or_1_whatever_byte_was_sent():
    raw = bytes([0, 1, 2, 255])
    array = unpack(msgpack.packb(msgpack.ExtType(wire.ARRAY, msgpack.packb(["?", [4], raw]))))
    tensor = unpack(msgpack.packb(msgpack.ExtType(wire.TENSOR, msgpack.packb(["bool", [4], raw, False]))))
    assert array.view(np.uint8).tolist() == tensor.view(torch.uint8).tolist() == [0, 1, 1, 1]


def test_a_reference_crosses_as_a_number_and_a_name_cut_to_a_bound():
    assert unpack(pack((Reference(7, "Value"),))) == (Reference(7, "Value"),)
    assert unpack(pack(Reference(7, "x" * 1000))).kind == "x" * 80


class Equal:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = object.__hash__


class MyArray(np.ndarray): ...


class MyTensor(torch.Tensor): ...


def nested(depth: int, kind: type):
    value: object = 1
    for _ in range(depth):
        value = kind([value]) if kind is not dict else {"k": value}
    return value


REFUSED = {
    "an object": Equal(),
    "a function": pack,
    "a class": Equal,
    "a set": {1},
    "an exception": ValueError("x"),
    "a subclass of int": type("Int", (int,), {})(3),
    "a subclass of str": type("Str", (str,), {})("x"),
    "a subclass of list": type("List", (list,), {})([1]),
    "a subclass of dict": type("Dict", (dict,), {})(a=1),
    "a subclass of tuple": type("Tuple", (tuple,), {})((1,)),
    "a subclass of float": type("Float", (float,), {})(1.0),
    "a subclass of bytes": type("Bytes", (bytes,), {})(b"x"),
    "a subclass of an array": np.zeros(3).view(MyArray),
    "a subclass of a tensor": torch.zeros(3).as_subclass(MyTensor),
    "an array of objects": np.array([Equal(), None], dtype=object),
    "an array of text": np.array(["a", "b"]),
    "an array of records": np.zeros(2, dtype=[("x", "f8"), ("y", object)]),
    "an array of dates": np.zeros(2, dtype="M8[s]"),
    "a memory view": memoryview(b"abc"),
    "a bytearray": bytearray(b"abc"),
    "a huge broadcast view": np.broadcast_to(np.zeros(1), (1 << 20, 1 << 20)),
    "a huge tensor that is expanded": torch.zeros(1).expand(1 << 20, 1 << 20),
    "a sparse tensor": torch.eye(3).to_sparse(),
    "a tensor without data": torch.zeros(3, device="meta"),
    "an array with too many axes": np.zeros((1,) * (wire.MAX_AXES + 1)),
    "a list too deep": nested(wire.MAX_DEPTH + 1, list),
    "a tuple too deep": nested(wire.MAX_DEPTH + 1, tuple),
    "a dict too deep": nested(wire.MAX_DEPTH + 1, dict),
    "too many items": [0] * (wire.MAX_ITEMS + 1),
    "too many items in all": [[0] * 1000 for _ in range(wire.MAX_ITEMS // 1000)],
    "too many bytes": b"x" * (wire.MAX_FRAME + 1),
    "a number too large": 1 << (8 * 4096 + 1),
    "half a character": "\ud800",
    "half a character in a dict": {"\udfff": 1},
    "keys of one hash": {place * (2**61 - 1): 0 for place in range(1, wire.MAX_ALIKE + 2)},
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_plain_data_or_not_bounded_is_refused(what):
    with pytest.raises(WireError):
        pack(REFUSED[what])


def test_a_list_that_contains_itself_is_refused():
    endless: list = []
    endless.append(endless)
    with pytest.raises(WireError, match="deep"):
        pack(endless)


@pytest.mark.parametrize("kind", [list, tuple, dict])
@pytest.mark.parametrize("depth", [wire.MAX_DEPTH - 1, wire.MAX_DEPTH])
def test_what_is_just_deep_enough_to_be_sent_is_also_let_in(kind, depth):
    value = nested(depth, kind)
    assert unpack(pack(value)) == value


def test_what_has_just_few_enough_items_to_be_sent_is_also_let_in():
    for value in ([0] * wire.MAX_ITEMS, tuple([0] * (wire.MAX_ITEMS - 1)), dict.fromkeys(range(wire.MAX_ITEMS // 2 - 1), 0)):
        assert len(unpack(pack(value))) == len(value)


def ext(code: int, content: object, pack_content: bool = True) -> bytes:
    packed = msgpack.packb(msgpack.ExtType(code, msgpack.packb(content) if pack_content else content))  # type: ignore[arg-type]
    assert packed is not None
    return packed


def tower(code: int, depth: int, innermost: bytes = b"\x91\x00") -> bytes:
    for _ in range(depth):
        innermost = b"\x91" + ext(code, innermost, pack_content=False)
    return ext(code, innermost, pack_content=False)


MALFORMED = {
    "nothing": b"",
    "a cut frame": pack([1, "two", np.ones(3)])[:-1],
    "one byte too many": pack([1]) + b"\x00",
    "an unknown extension": ext(99, [1]),
    "msgpack's time stamp": msgpack.packb(msgpack.Timestamp(1, 1)),
    "a bare map": msgpack.packb({"a": 1}),
    "a small frame that announces a long list": b"\xdd\x7f\xff\xff\xff",
    "a small frame that announces a long map": b"\xdf\x7f\xff\xff\xff",
    "a small frame that announces long bytes": b"\xc6\xff\xff\xff\xff",
    "a small frame that announces long text": b"\xdb\xff\xff\xff\xff",
    "a small frame that announces a long extension": b"\xc9\xff\xff\xff\xff\x02",
    "lists in lists, each announced as long": (b"\xdd" + struct.pack(">I", 4000)) * 900,
    "a tower of lists": b"\x91" * 900 + b"\x00",
    "a tower of lists too high for msgpack": b"\x91" * 100_000,
    "a tower of tuples": tower(wire.TUPLE, 200),
    "a tower of dicts": tower(wire.DICT, 200),
    "an array that announces more than it has": ext(wire.ARRAY, ["d", [1 << 40], b""]),
    "an array with a product that overflows": ext(wire.ARRAY, ["d", [1 << 32, 1 << 32], b""]),
    "an array with more bytes than it announces": ext(wire.ARRAY, ["d", [1], b"\x00" * 16]),
    "an array of negative length": ext(wire.ARRAY, ["d", [-1], b""]),
    "an array whose shape is no list": ext(wire.ARRAY, ["d", 3, b""]),
    "an array whose shape holds floats": ext(wire.ARRAY, ["d", [1.0], b"\x00" * 8]),
    "an array of objects": ext(wire.ARRAY, ["O", [1], b"\x00" * 8]),
    "an array of void": ext(wire.ARRAY, ["V", [1], b"\x00"]),
    "an array whose type is a list": ext(wire.ARRAY, [["d"], [1], b"\x00" * 8]),
    "an array whose type is longer": ext(wire.ARRAY, ["d,O", [1], b"\x00" * 8]),
    "an array whose bytes are text": ext(wire.ARRAY, ["B", [1], "x"]),
    "an array with too many axes": ext(wire.ARRAY, ["B", [1] * 65, b"x"]),
    "a scalar of three": ext(wire.SCALAR, ["B", [3], b"xyz"]),
    "a tensor of an unknown type": ext(wire.TENSOR, ["nn", [1], b"x", False]),
    "a tensor whose type is a function of torch": ext(wire.TENSOR, ["load", [1], b"x", False]),
    "a tensor of whole numbers that wants gradients": ext(wire.TENSOR, ["uint8", [1], b"x", True]),
    "a tensor that wants something else": ext(wire.TENSOR, ["uint8", [1], b"x", 1]),
    "a dict of an odd number of parts": ext(wire.DICT, ["a"]),
    "a dict with a list as a key": ext(wire.DICT, [["a"], 1]),
    "a dict that is a number": ext(wire.DICT, 3),
    "a tuple that is text": ext(wire.TUPLE, "abc"),
    "a reference without a name": ext(wire.REFERENCE, [1]),
    "a reference with a long name": ext(wire.REFERENCE, [1, "x" * 81]),
    "a reference whose number is true": ext(wire.REFERENCE, [True, "x"]),
    "a complex number of one part": ext(wire.COMPLEX, b"\x00" * 8, pack_content=False),
    "a whole number that is too large": ext(wire.BIG_INT, b"\x01" * 5000, pack_content=False),
    "text that is no UTF-8": b"\xa2\xff\xfe",
    "half a character": b"\xa3\xed\xa0\x80",
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_frame_is_refused_at_next_to_no_cost(what):
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            unpack(MALFORMED[what])
        assert tracemalloc.get_traced_memory()[1] < 48 * 2**20
    finally:
        tracemalloc.stop()


def many_of_one_hash(make) -> bytes:
    keys = [make(place * (2**61 - 1)) for place in range(1, 20_001)]
    return ext(wire.DICT, [part for key in keys for part in (key, 0)])


@pytest.mark.parametrize(
    "make", [lambda number: msgpack.ExtType(wire.BIG_INT, number.to_bytes(12, "big")), lambda number: tuple_of(number)], ids=["numbers", "tuples"]
)
def test_keys_chosen_to_have_one_hash_cost_no_time(make):
    frame = many_of_one_hash(make)
    began = time.process_time()
    with pytest.raises(WireError, match="hash"):
        unpack(frame)
    assert time.process_time() - began < 3


def tuple_of(number: int) -> msgpack.ExtType:
    content = msgpack.packb([msgpack.ExtType(wire.BIG_INT, number.to_bytes(12, "big"))])
    assert content is not None
    return msgpack.ExtType(wire.TUPLE, content)


def test_a_large_value_wrapped_again_and_again_is_not_copied_without_end():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(WireError, match="bytes within"):
        unpack(tower(wire.TUPLE, 20, msgpack.packb([b"x" * (32 * 2**20)]) or b""))
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < wire.MAX_NESTED + 6 * 32 * 2**20  # the tower itself takes some


@settings(max_examples=500)
@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_but_a_wire_error(content):
    with contextlib.suppress(WireError):
        unpack(content)


@settings(max_examples=500)
@given(NESTED | ANY_ARRAY | st.just(torch.ones(2, 3)), st.data())
def test_no_mutation_of_a_good_frame_raises_anything_but_a_wire_error(value, data):
    frame = bytearray(pack([value, np.ones(2), (Reference(1), 2j)]))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(frame) - 1))
        change = data.draw(st.sampled_from(["replace", "delete", "insert"]))
        byte = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0x90, 0xC1, 0xC9, 0xDD, 0xFF]) | st.integers(0, 255))
        if change == "replace":
            frame[place] = byte
        elif change == "insert":
            frame.insert(place, byte)
        elif len(frame) > 1:
            del frame[place]
    with contextlib.suppress(WireError):
        unpack(bytes(frame))


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def soon(seconds: float = 0.2) -> float:
    return time.monotonic() + seconds


def test_a_frame_crosses_a_socket(pair):
    ours, theirs = pair
    wire.send(ours, {"x": np.arange(3)})
    assert unpack(pack(wire.receive(theirs, soon())))["x"].tolist() == [0, 1, 2]


def test_a_frame_that_announces_too_much_is_refused_before_it_comes(pair):
    ours, theirs = pair
    theirs.sendall(struct.pack(">I", wire.MAX_FRAME + 1))
    with pytest.raises(WireError, match="announced"):
        wire.receive(ours, soon())


def test_a_frame_that_comes_byte_by_byte_meets_the_deadline_of_the_whole(pair):
    ours, theirs = pair
    stop = threading.Event()

    def drip() -> None:
        theirs.sendall(struct.pack(">I", 1000))
        while not stop.wait(0.02):
            theirs.sendall(b"\x00")

    dripping = threading.Thread(target=drip)
    dripping.start()
    try:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            wire.receive(ours, soon())
        assert time.monotonic() - began < 2
    finally:
        stop.set()
        dripping.join()


def test_sending_to_one_who_does_not_listen_ends_at_the_deadline(pair):
    with pytest.raises(TimeoutError):
        wire.send(pair[0], b"x" * (8 * 2**20), soon())


def test_one_who_is_gone_is_told_apart_from_one_who_is_silent(pair):
    ours, theirs = pair
    assert not wire.pending(ours)
    with pytest.raises(TimeoutError):
        wire.receive(ours, soon(0.05))
    theirs.sendall(b"\x00")
    assert wire.pending(ours)
    theirs.close()
    with pytest.raises(Closed):
        wire.receive(ours, soon())
    with pytest.raises(Closed):
        wire.pending(ours)
    with pytest.raises(Closed):
        wire.send(ours, b"x" * 2**20, soon())


def test_descriptors_that_are_sent_along_never_arrive(pair, tmp_path):
    ours, theirs = pair
    with open(tmp_path / "file", "w") as file:
        before = set(_open_descriptors())
        socket.send_fds(theirs, [wire.HEADER.pack(1) + b"\x07"], [file.fileno()] * 20)
        assert wire.receive(ours, soon()) == 7
        assert set(_open_descriptors()) == before


def _open_descriptors() -> list[int]:
    return [number for number in range(256) if _is_open(number)]


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True
