import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from course_lib.scratch import conv
from course_lib.scratch.conv import col2im, conv2d, conv2d_backward, conv2d_loops, im2col, output_size, windows
from course_lib.scratch.gradcheck import numerical_gradient, relative_error
from course_lib.scratch.pooling import avg_pool2d, avg_pool2d_backward, max_pool2d, max_pool2d_backward


@st.composite
def layers(draw):
    """Arrays and settings of a convolution that fits: (x, weight, bias, settings)."""
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    how = {"stride": draw(st.integers(1, 3)), "padding": draw(st.integers(0, 2)), "dilation": draw(st.integers(1, 2))}
    size = tuple(how["dilation"] * (side - 1) + 1 + draw(st.integers(0, 4)) for side in kernel)
    pictures, channels, outputs = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return rng.normal(size=(pictures, channels, *size)), rng.normal(size=(outputs, channels, *kernel)), rng.normal(size=outputs), how


@given(layers())
def test_loops_columns_and_torch_give_the_same_maps(layer):
    x, weight, bias, how = layer
    wanted = F.conv2d(*map(torch.from_numpy, (x, weight, bias)), **how).numpy()
    np.testing.assert_allclose(conv2d_loops(x, weight, bias, **how), wanted, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(conv2d(x, weight, bias, **how), wanted, rtol=1e-10, atol=1e-10)


@given(layers())
def test_the_gradients_are_torchs(layer):
    x, weight, bias, how = layer
    leaves = [torch.from_numpy(array).requires_grad_() for array in (x, weight, bias)]
    out = F.conv2d(*leaves, **how)
    upstream = torch.randn(out.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(conv2d_backward(upstream.numpy(), x, weight, **how), torch.autograd.grad(out, leaves, upstream), strict=True):
        np.testing.assert_allclose(ours, theirs.numpy(), rtol=1e-9, atol=1e-9)


@settings(max_examples=15)
@given(layers())
def test_the_gradients_are_those_that_one_measures(layer):
    x, weight, bias, how = layer
    x, upstream = x[:1], np.cos(np.arange(conv2d(x[:1], weight, bias, **how).size)).reshape(conv2d(x[:1], weight, bias, **how).shape)
    grad_x, grad_weight, grad_bias = conv2d_backward(upstream, x, weight, **how)
    assert relative_error(grad_x, numerical_gradient(lambda moved: (upstream * conv2d(moved, weight, bias, **how)).sum(), x)) < 1e-6
    assert relative_error(grad_weight, numerical_gradient(lambda moved: (upstream * conv2d(x, moved, bias, **how)).sum(), weight)) < 1e-6
    assert relative_error(grad_bias, numerical_gradient(lambda moved: (upstream * conv2d(x, weight, moved, **how)).sum(), bias)) < 1e-6


@given(layers())
def test_columns_are_torchs_unfold_and_their_way_back_is_its_fold(layer):
    x, weight, _, how = layer
    kernel = weight.shape[2:]
    columns = im2col(x, kernel, **how)
    np.testing.assert_array_equal(columns, F.unfold(torch.from_numpy(x), kernel, **how).numpy())
    folded = F.fold(torch.from_numpy(columns), x.shape[2:], kernel, **how).numpy()
    np.testing.assert_allclose(col2im(columns, x.shape[2:], kernel, **how), folded, rtol=1e-12, atol=1e-12)


@given(layers(), st.integers(0, 2**32 - 1))
def test_col2im_is_the_transpose_of_im2col(layer, seed):
    x, weight, _, how = layer
    columns = im2col(x, weight.shape[2:], **how)
    other = np.random.default_rng(seed).normal(size=columns.shape)
    assert np.vdot(columns, other) == pytest.approx(np.vdot(x, col2im(other, x.shape[2:], weight.shape[2:], **how)), rel=1e-9, abs=1e-9)


def test_windows_copy_nothing_and_cannot_be_written_to():
    x = np.random.default_rng(0).normal(size=(2, 3, 9, 8))
    view = windows(x, (3, 2), stride=2)
    assert np.shares_memory(view, x) and not view.flags.writeable
    assert view.shape == (2, 3, 3, 2, 4, 4)
    np.testing.assert_array_equal(view[1, 2, :, :, 3, 1], x[1, 2, 6:9, 2:4])


@pytest.mark.parametrize("block", [1, 100, 10_000_000])
def test_how_many_pictures_are_done_at_a_time_makes_no_difference(block, monkeypatch):
    rng = np.random.default_rng(0)
    x, weight = rng.normal(size=(7, 3, 8, 8)), rng.normal(size=(4, 3, 3, 3))
    upstream = rng.normal(size=(7, 4, 8, 8))
    wanted = conv2d(x, weight, padding=1), *conv2d_backward(upstream, x, weight, padding=1)
    monkeypatch.setattr(conv, "BLOCK", block)
    for ours, before in zip((conv2d(x, weight, padding=1), *conv2d_backward(upstream, x, weight, padding=1)), wanted, strict=True):
        np.testing.assert_allclose(ours, before, rtol=1e-10, atol=1e-10)


def test_float32_stays_float32():
    rng = np.random.default_rng(0)
    x, weight, bias = (rng.normal(size=size).astype(np.float32) for size in ((2, 3, 6, 6), (4, 3, 3, 3), (4,)))
    out = conv2d(x, weight, bias)
    assert {array.dtype for array in (out, *conv2d_backward(out, x, weight))} == {np.dtype("float32")}


@given(st.integers(1, 30), st.integers(1, 5), st.integers(1, 4), st.integers(0, 3), st.integers(1, 3))
def test_the_number_of_places_is_what_counting_gives(size, kernel, stride, padding, dilation):
    covered = dilation * (kernel - 1) + 1
    places = [start for start in range(-padding, size + padding, stride) if start + covered <= size + padding]
    if places:
        assert output_size(size, kernel, stride, padding, dilation) == len(places)
    else:
        with pytest.raises(ValueError, match=f"covers {covered} pixels does not fit"):
            output_size(size, kernel, stride, padding, dilation)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: output_size(5, 3, stride=0), "stride 0"),
        (lambda: output_size(5, 3, padding=-1), "padding -1"),
        (lambda: conv2d(np.zeros((1, 2, 5, 5)), np.zeros((3, 1, 3, 3))), "of the same C"),
        (lambda: conv2d(np.zeros((2, 5, 5)), np.zeros((3, 1, 3, 3))), r"was given \(2, 5, 5\)"),
        (lambda: conv2d_backward(np.zeros((1, 3, 5, 5)), np.zeros((1, 1, 5, 5)), np.zeros((3, 1, 3, 3))), r"has \(1, 3, 3, 3\)"),
    ],
)
def test_what_does_not_fit_is_named(call, message):
    with pytest.raises(ValueError, match=message):
        call()


POOLS = {"max": (max_pool2d, max_pool2d_backward, F.max_pool2d), "mean": (avg_pool2d, avg_pool2d_backward, F.avg_pool2d)}


@pytest.mark.parametrize("kind", POOLS)
@given(size=st.integers(1, 3), stride=st.none() | st.integers(1, 4), extra=st.integers(0, 5), ties=st.booleans(), seed=st.integers(0, 2**32 - 1))
def test_pooling_and_its_gradient_are_torchs_with_ties_and_overlaps(kind, size, stride, extra, ties, seed):
    pool, backward, theirs = POOLS[kind]
    rng = np.random.default_rng(seed)
    shape = (2, 3, size + extra, size + 2)
    x = rng.integers(-1, 2, size=shape).astype(float) if ties else rng.normal(size=shape)
    leaf = torch.from_numpy(x).requires_grad_()
    out = theirs(leaf, size, stride)
    np.testing.assert_allclose(pool(x, size, stride), out.detach().numpy(), rtol=1e-12, atol=1e-12)
    upstream = rng.normal(size=tuple(out.shape))
    (wanted,) = torch.autograd.grad(out, leaf, torch.from_numpy(upstream))
    np.testing.assert_allclose(backward(upstream, x, size, stride), wanted.numpy(), rtol=1e-12, atol=1e-12)
