"""The wire between the trusted side and student code: frames of plain data on a stream socket. Used by both sides.

A frame is four bytes of length and a msgpack value. Only these things cross: None, booleans, whole numbers, floats, complex numbers,
strings, bytes, lists, tuples, dicts, NumPy scalars and arrays of numbers, torch tensors, and references to objects that stay with the
student. An array is its dtype, its shape and its bytes, and is rebuilt from those alone. There is no pickle and no eval, and what is too
large, too deep or oddly typed is refused before anything is built from it.
"""

import select
import socket
import struct
import sys
import time
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

MAX_FRAME = 64 * 2**20  # bytes
MAX_DEPTH = 24
MAX_ITEMS = 500_000  # of all containers of a frame together
MAX_AXES = 32
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
    content = _packed(_lower(value, 0))
    if len(content) > MAX_FRAME:
        raise WireError(f"{len(content):,} bytes are too many to send; at most {MAX_FRAME:,}")
    return content


def unpack(content: bytes) -> Any:
    """The value of a frame. `WireError` when it is malformed in any way."""
    budget = _Budget()
    try:
        value = _unpack(content, budget)
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
        _wait(stream, deadline, writing=True)
        try:
            sent = stream.send(data, socket.MSG_NOSIGNAL | (socket.MSG_DONTWAIT if deadline is not None else 0))
        except BlockingIOError:
            continue
        except OSError as error:
            raise Closed(str(error)) from None
        data = data[sent:]


def receive(stream: socket.socket, deadline: float | None = None) -> Any:
    """Read one frame. `WireError` when it is malformed, `Closed` at the end, TimeoutError at the deadline (monotonic)."""
    (size,) = HEADER.unpack(_exactly(stream, HEADER.size, deadline))
    if size > MAX_FRAME:
        raise WireError(f"a frame of {size:,} bytes is announced; at most {MAX_FRAME:,}")
    return unpack(_exactly(stream, size, deadline))


def pending(stream: socket.socket) -> bool:
    """Has something come that nobody asked for?"""
    return bool(select.select([stream], [], [], 0)[0])


class _Budget:
    """Counts what a frame builds, so that a small frame cannot ask for much."""

    def __init__(self) -> None:
        self.items = MAX_ITEMS

    def take(self, count: int) -> None:
        self.items -= count
        if self.items < 0:
            raise WireError(f"more than {MAX_ITEMS:,} items in one message")


def _exactly(stream: socket.socket, size: int, deadline: float | None) -> bytes:
    parts = bytearray()
    while len(parts) < size:
        _wait(stream, deadline)
        try:
            part = stream.recv(min(size - len(parts), 2**20))
        except OSError as error:
            raise Closed(str(error)) from None
        if not part:
            raise Closed("the stream ended")
        parts += part
    return bytes(parts)


def _wait(stream: socket.socket, deadline: float | None, writing: bool = False) -> None:
    if deadline is None:
        return
    remaining = deadline - time.monotonic()
    watched = ([], [stream], []) if writing else ([stream], [], [])
    if remaining <= 0 or not any(select.select(*watched, remaining)):
        raise TimeoutError("no answer in time")


def _unpack(content: bytes, budget: _Budget) -> Any:
    return msgpack.unpackb(
        content,
        raw=False,
        strict_map_key=False,
        use_list=True,
        ext_hook=lambda code, data: _Ext(code, data),
        max_array_len=MAX_ITEMS,
        max_map_len=MAX_ITEMS,
        max_ext_len=MAX_FRAME,
    )


@dataclass(frozen=True)
class _Ext:
    code: int
    data: bytes


def _lower(value: Any, depth: int) -> Any:
    """Plain data in msgpack's terms. Exact types only: a subclass may lie about itself."""
    if depth > MAX_DEPTH:
        raise WireError(f"data nested more than {MAX_DEPTH} deep cannot cross")
    kind = type(value)
    if kind in (type(None), bool, float, str, bytes):
        return value
    if kind is int:
        return value if -(2**63) <= value < 2**64 else _ext(BIG_INT, _big(value))
    if kind is complex:
        return _ext(COMPLEX, struct.pack(">dd", value.real, value.imag))
    if kind is list:
        return [_lower(item, depth + 1) for item in value]
    if kind is tuple:
        return _ext(TUPLE, _packed([_lower(item, depth + 1) for item in value]))
    if kind is dict:
        pairs = [[_lower(key, depth + 1), _lower(item, depth + 1)] for key, item in value.items()]
        return _ext(DICT, _packed(pairs))
    if kind is Reference:
        return _ext(REFERENCE, _packed([value.number, value.kind[:80]]))
    if isinstance(value, np.generic) and kind.__module__ == "numpy" and value.dtype.char in NUMERIC:
        return _ext(SCALAR, _array_bytes(np.asarray(value)))
    if isinstance(value, np.ndarray) and value.dtype.char in NUMERIC:
        return _ext(ARRAY, _array_bytes(value))
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return _ext(TENSOR, _tensor_bytes(value, torch))
    raise WireError(f"a {kind.__name__} cannot cross")


def _packed(value: Any) -> bytes:
    packed = msgpack.packb(value, use_bin_type=True, strict_types=True)
    assert packed is not None
    return packed


def _ext(code: int, data: bytes) -> msgpack.ExtType:
    return msgpack.ExtType(code, data)


def _big(value: int) -> bytes:
    size = (value.bit_length() + 8) // 8
    if size > 4096:
        raise WireError(f"a whole number of {value.bit_length():,} bits cannot cross")
    return value.to_bytes(size, "big", signed=True)


def _array_bytes(value: np.ndarray) -> bytes:
    if value.nbytes > MAX_FRAME:
        raise WireError(f"an array of {value.nbytes:,} bytes cannot cross; at most {MAX_FRAME:,}")
    plain = np.array(value, order="C", subok=False, copy=None).astype(value.dtype.newbyteorder("<"), copy=False)
    return _packed([value.dtype.char, list(value.shape), plain.tobytes()])


def _tensor_bytes(value: Any, torch: Any) -> bytes:
    name = str(value.dtype).removeprefix("torch.")
    if name not in TENSOR_TYPES or value.layout != torch.strided or value.is_quantized:
        raise WireError(f"a tensor of type {name} cannot cross")
    if value.numel() * value.element_size() > MAX_FRAME:
        raise WireError(f"a tensor of {value.numel():,} elements cannot cross; at most {MAX_FRAME:,} bytes")
    plain = value.detach().cpu().contiguous()
    raw = plain.view(torch.uint8) if plain.dim() else plain.reshape(1).view(torch.uint8)
    return _packed([name, list(value.shape), raw.numpy().tobytes(), bool(value.requires_grad)])


def _raise_up(value: Any, budget: _Budget, depth: int) -> Any:
    """The value that was lowered, every claim about it checked."""
    if depth > MAX_DEPTH:
        raise WireError(f"data nested more than {MAX_DEPTH} deep")
    if isinstance(value, list):
        budget.take(len(value))
        return [_raise_up(item, budget, depth + 1) for item in value]
    if isinstance(value, _Ext):
        return _from_ext(value, budget, depth)
    if isinstance(value, dict):
        raise WireError("a bare map")
    return value


def _from_ext(ext: _Ext, budget: _Budget, depth: int) -> Any:
    budget.take(1)
    if ext.code == TUPLE:
        return tuple(_items(ext, budget, depth))
    if ext.code == DICT:
        pairs = _items(ext, budget, depth)
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            raise WireError("a dict that is none")
        return dict(pairs)  # an unhashable key raises, and is malformed
    if ext.code == COMPLEX:
        return complex(*struct.unpack(">dd", ext.data))
    if ext.code == BIG_INT:
        if len(ext.data) > 4096:
            raise WireError("a whole number too large")
        return int.from_bytes(ext.data, "big", signed=True)
    if ext.code == REFERENCE:
        number, kind = _unpack(ext.data, budget)
        if type(number) is not int or type(kind) is not str or len(kind) > 80:
            raise WireError("a reference that is none")
        return Reference(number, kind)
    if ext.code in (ARRAY, SCALAR):
        char, shape, raw = _unpack(ext.data, budget)
        if char not in NUMERIC:
            raise WireError(f"an array of type {char!r}")
        dtype = np.dtype(char)
        _check_shape(shape, dtype.itemsize, raw)
        array = np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(shape)
        return array if ext.code == ARRAY else array.reshape(())[()]
    if ext.code == TENSOR:
        return _tensor(*_unpack(ext.data, budget))
    raise WireError(f"an unknown kind of data, {ext.code}")


def _items(ext: _Ext, budget: _Budget, depth: int) -> list:
    items = _unpack(ext.data, budget)
    if not isinstance(items, list):
        raise WireError("a container that is none")
    budget.take(len(items))
    return [_raise_up(item, budget, depth + 1) for item in items]


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
    flat = torch.frombuffer(bytearray(raw), dtype=dtype) if raw else torch.empty(0, dtype=dtype)
    return flat.reshape(shape).requires_grad_(requires_grad and dtype.is_floating_point)
