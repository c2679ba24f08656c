"""Convolution of pictures and its gradient: as loops, as one matrix product, and fast.

What networks call a convolution is a cross-correlation: the kernel is laid on the picture as it is, not turned round. (A learnt one does not care.)
The matrix product is the "im2col" of Chellapilla, Puri and Simard (2006), "High performance convolutional neural networks for document processing":
copy every window into a column, and the convolution becomes weight @ columns. On the way back the same copying is run in reverse and adds up,
because windows overlap. `conv2d_loops` is the definition, `conv2d` says it with columns, a few pictures at a time, so that the columns stay in the
processor's cache.

Dimensions: N pictures, C channels in, O channels out, H × W pixels in, K × L kernel, P × Q places out.
"""

import numpy as np

from course_lib.scratch.functional import Array

BLOCK = 1 << 18  # numbers of the columns that are made at a time: 1 MiB in float32


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """At how many places along an axis of `size` pixels a kernel fits.

    A kernel of `kernel` weights that stand `dilation` pixels apart covers dilation (kernel - 1) + 1 pixels; `padding` pixels are added on each side.
    """
    if min(size, kernel, stride, dilation) < 1 or padding < 0:
        given = f"size {size}, kernel {kernel}, stride {stride}, padding {padding}, dilation {dilation}"
        raise ValueError(f"wanted a padding of at least 0 and all others of at least 1, was given {given}")
    covered = dilation * (kernel - 1) + 1
    if covered > size + 2 * padding:
        raise ValueError(f"a kernel that covers {covered} pixels does not fit into {size} with {padding} added on either side")
    return (size + 2 * padding - covered) // stride + 1


def conv2d_loops(x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: int = 0, dilation: int = 1) -> Array:
    """The definition, one place at a time. x (N, C, H, W), weight (O, C, K, L), bias (O,) → (N, O, P, Q)."""
    _check(x, weight)
    size_p, size_q = _places(x, weight.shape[2:], stride, padding, dilation)
    padded = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    reach_k, reach_l = dilation * (weight.shape[2] - 1) + 1, dilation * (weight.shape[3] - 1) + 1
    out = np.empty((len(x), len(weight), size_p, size_q), dtype=np.result_type(x, weight))
    for n in range(len(x)):
        for o in range(len(weight)):
            for p in range(size_p):
                for q in range(size_q):
                    top, left = p * stride, q * stride
                    window = padded[n, :, top : top + reach_k : dilation, left : left + reach_l : dilation]  # (C, K, L)
                    out[n, o, p, q] = (window * weight[o]).sum() + (0 if bias is None else bias[o])
    return out


def windows(x: Array, kernel: tuple[int, int], stride: int = 1, padding: int = 0, dilation: int = 1, fill: float = 0.0) -> Array:
    """Every window of every picture, without copying: x (N, C, H, W) → (N, C, K, L, P, Q), a read-only view of the padded pictures.

    Entry [n, c, k, l, p, q] is pixel (p stride + k dilation, q stride + l dilation) of the padded channel. Windows overlap in memory.
    """
    size_p, size_q = _places(x, kernel, stride, padding, dilation)
    if padding:
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)), constant_values=fill)
    n, c, h, w = x.strides
    shape = (*x.shape[:2], *kernel, size_p, size_q)
    strides = (n, c, h * dilation, w * dilation, h * stride, w * stride)
    return np.lib.stride_tricks.as_strided(x, shape, strides, writeable=False)


def im2col(x: Array, kernel: tuple[int, int], stride: int = 1, padding: int = 0, dilation: int = 1) -> Array:
    """Every window as a column: x (N, C, H, W) → (N, C·K·L, P·Q), in the layout of torch's unfold."""
    view = windows(x, kernel, stride, padding, dilation)
    n, c, k, l, p, q = view.shape
    return np.array(view, order="C").reshape(n, c * k * l, p * q)  # the copy is made here, for a 1 × 1 kernel too


def col2im(columns: Array, size: tuple[int, int], kernel: tuple[int, int], stride: int = 1, padding: int = 0, dilation: int = 1) -> Array:
    """Put the columns back where they came from, and add where windows overlap: columns (N, C·K·L, P·Q) → (N, C, H, W).

    The transpose of im2col (both are linear), not its inverse: a pixel that stood in four windows comes back four times.
    """
    height, width = size
    k, l = kernel
    p, q = output_size(height, k, stride, padding, dilation), output_size(width, l, stride, padding, dilation)
    n = len(columns)
    parts = columns.reshape(n, -1, k, l, p, q)
    padded = np.zeros((n, parts.shape[1], height + 2 * padding, width + 2 * padding), dtype=columns.dtype)
    for i in range(k):
        for j in range(l):
            top, left = i * dilation, j * dilation
            padded[:, :, top : top + stride * p : stride, left : left + stride * q : stride] += parts[:, :, i, j]
    return padded[:, :, padding : padding + height, padding : padding + width]


def conv2d(x: Array, weight: Array, bias: Array | None = None, stride: int = 1, padding: int = 0, dilation: int = 1) -> Array:
    """Equal to conv2d_loops, as matrix products. x (N, C, H, W), weight (O, C, K, L), bias (O,) → (N, O, P, Q)."""
    _check(x, weight)
    size_p, size_q = _places(x, weight.shape[2:], stride, padding, dilation)
    flat = weight.reshape(len(weight), -1)  # (O, C·K·L)
    out = np.empty((len(x), len(weight), size_p * size_q), dtype=np.result_type(x, weight))
    for block in _blocks(len(x), flat.shape[1] * size_p * size_q):
        np.matmul(flat, im2col(x[block], weight.shape[2:], stride, padding, dilation), out=out[block])
    if bias is not None:
        out += bias[:, None]
    return out.reshape(len(x), len(weight), size_p, size_q)


def conv2d_backward(grad_out: Array, x: Array, weight: Array, stride: int = 1, padding: int = 0, dilation: int = 1) -> tuple[Array, Array, Array]:
    """grad_out (N, O, P, Q), and x and weight of the forward pass → gradients of x (N, C, H, W), weight (O, C, K, L) and bias (O,).

    The columns are made again rather than kept: they would take K·L times the memory of the picture.
    """
    _check(x, weight)
    kernel = weight.shape[2:]
    wanted = (len(x), len(weight), *_places(x, kernel, stride, padding, dilation))
    if grad_out.shape != wanted:
        raise ValueError(f"grad_out has shape {grad_out.shape}; the output of this convolution has {wanted}")
    flat = weight.reshape(len(weight), -1)  # (O, C·K·L)
    upstream = grad_out.reshape(len(x), len(weight), -1)  # (N, O, P·Q)
    grad_x, grad_flat = np.empty_like(x, dtype=np.result_type(grad_out, weight)), np.zeros_like(flat)
    for block in _blocks(len(x), flat.shape[1] * upstream.shape[2]):
        columns = im2col(x[block], kernel, stride, padding, dilation)  # (n, C·K·L, P·Q)
        grad_flat += (upstream[block] @ columns.transpose(0, 2, 1)).sum(axis=0)
        grad_x[block] = col2im(flat.T @ upstream[block], x.shape[2:], kernel, stride, padding, dilation)
    return grad_x, grad_flat.reshape(weight.shape), grad_out.sum(axis=(0, 2, 3))


def _blocks(pictures: int, numbers: int) -> list[slice]:
    """Slices over the pictures, with about BLOCK numbers of columns each, one picture at least."""
    step = max(1, BLOCK // max(numbers, 1))
    return [slice(start, start + step) for start in range(0, pictures, step)]


def _places(x: Array, kernel: tuple[int, ...], stride: int, padding: int, dilation: int) -> tuple[int, int]:
    return output_size(x.shape[2], kernel[0], stride, padding, dilation), output_size(x.shape[3], kernel[1], stride, padding, dilation)


def _check(x: Array, weight: Array) -> None:
    if x.ndim != 4 or weight.ndim != 4 or x.shape[1] != weight.shape[1]:
        raise ValueError(f"wanted x (N, C, H, W) and weight (O, C, K, L) of the same C, was given {x.shape} and {weight.shape}")
