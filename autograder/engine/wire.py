"""The wire between the trusted side and student code: frames of plain data on a stream socket. Used by both sides.

A frame is four bytes of length and a msgpack value. Only these things cross: None, booleans, whole numbers, floats, complex numbers,
strings, bytes, lists, tuples, dicts, NumPy scalars and arrays of numbers, torch tensors, and references to objects that stay with the
student. An array is its dtype, its shape and its bytes, and is rebuilt from those alone. There is no pickle and no eval, and what is too
large, too deep or oddly typed is refused before anything is built from it.

Both directions keep the same limits: whatever `pack` lets out, `unpack` lets in. An honest value can so never look like a forged one.
"""

import select
import socket
import struct
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

MAX_FRAME = 64 * 2**20  # bytes
FIRST_PART = 2**16  # bytes that are asked for before the length is known: most frames are shorter
MAX_DEPTH = 24
MAX_ITEMS = 500_000  # of all containers of a frame together
MAX_NESTED = 4 * MAX_FRAME  # bytes of the contents of all tuples and dicts, each counted at every level that it is part of
MAX_ALIKE = 64  # keys of one dict that have the same hash; more of them would make it slow
MAX_AXES = 32
PLAIN = (type(None), bool, int, float, str, bytes)  # as msgpack has them
ATOMS = frozenset({type(None), bool, float, str, bytes})  # cross as they are, whatever their value
NUMERIC = frozenset("?bhilqBHILQefdFD")  # NumPy type characters that cross
TENSOR_TYPES = ("float16", "float32", "float64", "bfloat16", "complex64", "complex128", "bool", "uint8", "int8", "int16", "int32", "int64")
TUPLE, ARRAY, SCALAR, TENSOR, COMPLEX, BIG_INT, REFERENCE, DICT = range(1, 9)
HEADER = struct.Struct(">I")


class WireError(Exception):
    """A value cannot cross, or what came is not a well-formed frame."""


class Closed(Exception):
    """The other side is gone."""


@dataclass(frozen=True)
class Reference:
    """An object that stays with the student: its number, and its type's name for messages."""

    number: int
    kind: str = "object"


def pack(value: Any) -> bytes:
    """A value as a frame's content. `WireError` names what cannot cross."""
    content = _packed(_lower(value, _Budget(), 0))
    if len(content) > MAX_FRAME:
        raise WireError(f"{len(content):,} bytes are too many to send; at most {MAX_FRAME:,}")
    return content


def unpack(content: bytes) -> Any:
    """The value of a frame. `WireError` when it is malformed in any way."""
    budget = _Budget()
    try:
        value = _unpack(content)
        return _raise_up(value, budget, 0)
    except WireError:
        raise
    except Exception as error:  # msgpack, struct, NumPy and torch have many ways to refuse malformed bytes
        raise WireError(f"malformed frame: {type(error).__name__}") from None


def send(stream: socket.socket, value: Any, deadline: float | None = None) -> None:
    """Write one frame; `Closed` when the other side is gone, TimeoutError when it does not take it by the deadline (monotonic)."""
    send_packed(stream, pack(value), deadline)


def send_packed(stream: socket.socket, content: bytes, deadline: float | None = None) -> None:
    """`send` for a value that has been packed already."""
    data = memoryview(HEADER.pack(len(content)) + content)
    while data:
        try:
            sent = stream.send(data, socket.MSG_NOSIGNAL | (socket.MSG_DONTWAIT if deadline is not None else 0))
        except BlockingIOError:
            _wait(stream, deadline, writing=True)
            continue
        except OSError as error:
            raise Closed(str(error)) from None
        data = data[sent:]


def receive(stream: socket.socket, deadline: float | None = None) -> Any:
    """Read one frame, after which the other side waits for an answer.

    `WireError` when it is malformed or more than one, `Closed` at the end, TimeoutError at the deadline (monotonic).
    """
    data = bytearray()
    while len(data) < HEADER.size:
        data += _part(stream, FIRST_PART, deadline)
    (size,) = HEADER.unpack_from(data)
    if size > MAX_FRAME:
        raise WireError(f"a frame of {size:,} bytes is announced; at most {MAX_FRAME:,}")
    while len(data) < HEADER.size + size:
        data += _part(stream, min(HEADER.size + size - len(data), 2**20), deadline)
    if len(data) > HEADER.size + size:
        raise WireError("a frame is followed by another that nobody asked for")
    return unpack(bytes(memoryview(data)[HEADER.size :]))


def pending(stream: socket.socket) -> bool:
    """Has something come that nobody asked for? `Closed` when nothing has and the other side is gone."""
    try:
        first = stream.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return False
    except OSError as error:
        raise Closed(str(error)) from None
    if not first:
        raise Closed("the stream ended")
    return True


class _Budget:
    """Counts what a frame is made of, the same way on both sides, so that a small frame cannot ask for much."""

    def __init__(self) -> None:
        self._items, self._bytes = MAX_ITEMS, MAX_NESTED

    def take(self, items: int, size: int = 0) -> None:
        self._items -= items
        self._bytes -= size
        if self._items < 0:
            raise WireError(f"more than {MAX_ITEMS:,} items in one message")
        if self._bytes < 0:
            raise WireError(f"more than {MAX_NESTED:,} bytes within tuples and dicts in one message")


def _part(stream: socket.socket, size: int, deadline: float | None) -> bytes:
    _wait(stream, deadline)
    try:
        part = stream.recv(size)
    except OSError as error:
        raise Closed(str(error)) from None
    if not part:
        raise Closed("the stream ended")
    return part


def _wait(stream: socket.socket, deadline: float | None, writing: bool = False) -> None:
    if deadline is None:
        return
    remaining = deadline - time.monotonic()
    poll = select.poll()  # unlike select, it takes any number of a descriptor
    poll.register(stream, select.POLLOUT if writing else select.POLLIN)
    if remaining <= 0 or not poll.poll(max(1000 * remaining, 1)):
        raise TimeoutError("no answer in time")


def _unpack(content: bytes) -> Any:
    return msgpack.unpackb(
        content,
        raw=False,
        strict_map_key=False,
        use_list=True,
        ext_hook=lambda code, data: _Ext(code, data),
        max_array_len=min(len(content), MAX_ITEMS),  # an item takes at least a byte
        max_map_len=0,
        max_ext_len=len(content),
    )


@dataclass(frozen=True)
class _Ext:
    code: int
    data: bytes


def _lower(value: Any, budget: _Budget, depth: int) -> Any:
    """Plain data in msgpack's terms. Exact types only: a subclass may lie about itself."""
    if depth > MAX_DEPTH:
        raise WireError(f"data nested more than {MAX_DEPTH} deep cannot cross")
    kind = type(value)
    if kind in ATOMS:
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else _ext(BIG_INT, _big(value), budget)
    if kind is complex:
        return _ext(COMPLEX, struct.pack(">dd", value.real, value.imag), budget)
    if kind is list:
        budget.take(len(value))
        return _all_lowered(value, budget, depth)
    if kind is tuple:
        return _container(TUPLE, value, budget, depth)
    if kind is dict:
        _refuse_alike(list(value))
        return _container(DICT, [part for pair in value.items() for part in pair], budget, depth)
    if kind is Reference:
        return _ext(REFERENCE, _packed([value.number, value.kind[:80]]), budget)
    if kind is np.str_:
        return str(value)
    if kind is np.bytes_:
        return bytes(value)
    if issubclass(kind, np.generic) and kind.__module__ == "numpy" and value.dtype.char in NUMERIC:
        return _ext(SCALAR, _array_bytes(np.asarray(value)), budget)
    if kind is np.ndarray and value.dtype.char in NUMERIC:
        return _ext(ARRAY, _array_bytes(value), budget)
    torch = sys.modules.get("torch")
    if torch is not None and kind in (torch.Tensor, torch.nn.Parameter):
        return _ext(TENSOR, _tensor_bytes(value, torch), budget)
    raise WireError(f"{_described(kind, value)} cannot cross")


def _described(kind: type, value: Any) -> str:
    return f"an array of type {value.dtype}" if kind is np.ndarray else f"a {kind.__name__}"


def _container(code: int, items: Any, budget: _Budget, depth: int) -> msgpack.ExtType:
    budget.take(len(items))
    content = _packed(_all_lowered(items, budget, depth))
    budget.take(0, len(content))
    return _ext(code, content, budget)


def _all_lowered(items: Any, budget: _Budget, depth: int) -> list:
    if ATOMS.issuperset(map(type, items)) and depth < MAX_DEPTH:
        return list(items)
    return [_lower(item, budget, depth + 1) for item in items]


def _refuse_alike(keys: list) -> None:
    """Keys chosen to have one hash, as numbers and tuples of numbers can be, would take a time that grows with their square."""
    if len(keys) > MAX_ALIKE and max(Counter(map(hash, keys)).values()) > MAX_ALIKE:
        raise WireError(f"a dict with more than {MAX_ALIKE} keys of one hash cannot cross")


def _packed(value: Any) -> bytes:
    try:
        packed = msgpack.packb(value, use_bin_type=True, strict_types=True)
    except UnicodeEncodeError:
        raise WireError("text with half a character (a lone surrogate) cannot cross") from None
    assert packed is not None
    return packed


def _ext(code: int, data: bytes, budget: _Budget) -> msgpack.ExtType:
    budget.take(1)
    return msgpack.ExtType(code, data)


def _big(value: int) -> bytes:
    size = (value.bit_length() + 8) // 8
    if size > 4096:
        raise WireError(f"a whole number of {value.bit_length():,} bits cannot cross")
    return value.to_bytes(size, "big", signed=True)


def _array_bytes(value: np.ndarray) -> bytes:
    if value.nbytes > MAX_FRAME:
        raise WireError(f"an array of {value.nbytes:,} bytes cannot cross; at most {MAX_FRAME:,}")
    if value.ndim > MAX_AXES:
        raise WireError(f"an array with {value.ndim} axes cannot cross; at most {MAX_AXES}")
    plain = np.array(value, order="C", subok=False, copy=None).astype(value.dtype.newbyteorder("<"), copy=False)
    return _packed([value.dtype.char, list(value.shape), plain.tobytes()])


def _tensor_bytes(value: Any, torch: Any) -> bytes:
    name = str(value.dtype).removeprefix("torch.")
    if name not in TENSOR_TYPES or value.layout != torch.strided or value.is_meta:
        raise WireError(f"a tensor of type {name}, {value.layout}, on {value.device} cannot cross")
    if value.numel() * value.element_size() > MAX_FRAME:
        raise WireError(f"a tensor of {value.numel():,} elements cannot cross; at most {MAX_FRAME:,} bytes")
    if value.dim() > MAX_AXES:
        raise WireError(f"a tensor with {value.dim()} axes cannot cross; at most {MAX_AXES}")
    flat = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
    return _packed([name, list(value.shape), flat.view(torch.uint8).numpy().tobytes(), bool(value.requires_grad)])


def _raise_up(value: Any, budget: _Budget, depth: int) -> Any:
    """The value that was lowered, every claim about it checked."""
    if depth > MAX_DEPTH:
        raise WireError(f"data nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        budget.take(len(value))
        return _all_raised(value, budget, depth)
    if isinstance(value, _Ext):
        return _from_ext(value, budget, depth)
    if type(value) in PLAIN:
        return value
    raise WireError(f"a bare {type(value).__name__}")  # msgpack knows maps and times too


def _from_ext(ext: _Ext, budget: _Budget, depth: int) -> Any:
    budget.take(1)
    if ext.code == TUPLE:
        return tuple(_items(ext, budget, depth))
    if ext.code == DICT:
        parts = _items(ext, budget, depth)
        if len(parts) % 2:
            raise WireError("a dict that is none")
        _refuse_alike(parts[::2])  # an unhashable key raises, and is malformed
        return dict(zip(parts[::2], parts[1::2], strict=True))
    if ext.code == COMPLEX:
        return complex(*struct.unpack(">dd", ext.data))
    if ext.code == BIG_INT:
        if len(ext.data) > 4096:
            raise WireError("a whole number too large")
        return int.from_bytes(ext.data, "big", signed=True)
    if ext.code == REFERENCE:
        number, kind = _unpack(ext.data)
        if type(number) is not int or type(kind) is not str or len(kind) > 80:
            raise WireError("a reference that is none")
        return Reference(number, kind)
    if ext.code in (ARRAY, SCALAR):
        array = _array(*_unpack(ext.data))
        return array if ext.code == ARRAY else array.reshape(())[()]
    if ext.code == TENSOR:
        return _tensor(*_unpack(ext.data))
    raise WireError(f"an unknown kind of data, {ext.code}")


def _items(ext: _Ext, budget: _Budget, depth: int) -> list:
    budget.take(0, len(ext.data))
    items = _unpack(ext.data)
    if not isinstance(items, list):
        raise WireError("a container that is none")
    budget.take(len(items))
    return _all_raised(items, budget, depth)


def _all_raised(items: list, budget: _Budget, depth: int) -> list:
    if ATOMS.issuperset(map(type, items)) and depth < MAX_DEPTH:
        return items
    return [_raise_up(item, budget, depth + 1) for item in items]


def _array(char: Any, shape: Any, raw: Any) -> np.ndarray:
    if type(char) is not str or char not in NUMERIC:
        raise WireError(f"an array of type {char!r}")
    dtype = np.dtype(char)
    _check_shape(shape, dtype.itemsize, raw)
    if char == "?":  # any byte but 0 is true, and is 1 from here on
        return (np.frombuffer(raw, dtype=np.uint8) != 0).reshape(shape)
    return np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def _check_shape(shape: Any, size: int, raw: Any) -> None:
    if not (isinstance(shape, list) and len(shape) <= MAX_AXES and all(type(length) is int and length >= 0 for length in shape)):
        raise WireError("an array without a shape")
    count = size
    for length in shape:
        count *= length
    if type(raw) is not bytes or len(raw) != count:
        raise WireError("an array whose bytes do not fill its shape")


def _tensor(name: Any, shape: Any, raw: Any, requires_grad: Any) -> Any:
    import torch

    if name not in TENSOR_TYPES or type(requires_grad) is not bool:
        raise WireError("a tensor that is none")
    dtype = getattr(torch, name)
    _check_shape(shape, torch.empty((), dtype=dtype).element_size(), raw)
    if not raw:
        flat = torch.empty(0, dtype=dtype)
    elif dtype == torch.bool:
        flat = torch.frombuffer(bytearray(raw), dtype=torch.uint8) != 0
    else:
        flat = torch.frombuffer(bytearray(raw), dtype=dtype)
    return flat.reshape(shape).requires_grad_(requires_grad)  # refused by torch for whole numbers, which is malformed
