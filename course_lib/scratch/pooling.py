"""Pooling: one number for each window of a channel, the largest or the mean, and the gradients of both.

Windows may overlap (stride smaller than size), as in AlexNet; pixels that fill no whole window are left out, as in torch. A gradient goes back to the
pixel that was the largest, the first of equals in reading order, as in torch; or in equal shares to all.

Dimensions: N pictures, C channels, H × W pixels in, S × S windows, P × Q windows.
"""

import numpy as np

from course_lib.scratch.conv import col2im, windows
from course_lib.scratch.functional import Array


def max_pool2d(x: Array, size: int, stride: int | None = None) -> Array:
    """x (N, C, H, W) → (N, C, P, Q), the largest number of every window. stride: None for windows side by side."""
    return windows(x, (size, size), stride or size).max(axis=(2, 3))


def max_pool2d_backward(grad_out: Array, x: Array, size: int, stride: int | None = None) -> Array:
    """grad_out (N, C, P, Q), x (N, C, H, W) of the forward pass → gradient of x. Whoever won two windows gets both gradients."""
    stride = stride or size
    view = windows(x, (size, size), stride)
    n, c, _, _, p, q = view.shape
    first = view.reshape(n, c, size * size, p * q).argmax(axis=2)  # (N, C, P·Q): which pixel of each window won
    columns = np.zeros((n, c, size * size, p * q), dtype=grad_out.dtype)
    np.put_along_axis(columns, first[:, :, None], grad_out.reshape(n, c, 1, p * q), axis=2)
    return col2im(columns.reshape(n, c * size * size, p * q), x.shape[2:], (size, size), stride)


def avg_pool2d(x: Array, size: int, stride: int | None = None) -> Array:
    """x (N, C, H, W) → (N, C, P, Q), the mean of every window."""
    return windows(x, (size, size), stride or size).mean(axis=(2, 3))


def avg_pool2d_backward(grad_out: Array, x: Array, size: int, stride: int | None = None) -> Array:
    """grad_out (N, C, P, Q), x (N, C, H, W) of the forward pass, of which only the shape matters → gradient of x."""
    n, c, p, q = grad_out.shape
    shares = np.broadcast_to((grad_out / size**2).reshape(n, c, 1, p * q), (n, c, size * size, p * q))
    return col2im(shares.reshape(n, c * size * size, p * q), x.shape[2:], (size, size), stride or size)
