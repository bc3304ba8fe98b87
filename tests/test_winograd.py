"""Winograd's convolution against the plain one, for sizes that fill its tiles and sizes that do not."""

import numpy as np
import pytest

from scratchnet import check, ops
from scratchnet.ops import winograd
from scratchnet.ops.convolution import unfold_product, weight_product
from scratchnet.ops.windows import geometry


def test_the_matrices_multiply_polynomials():
    """In one dimension, a kernel of 3 over 6 numbers gives 4 results. By linearity, unit vectors prove it for all."""
    for d in np.eye(6):
        for g in np.eye(3):
            plain = [d[k:k + 3] @ g for k in range(4)]
            np.testing.assert_allclose(winograd.A @ ((winograd.G @ g) * (winograd.B @ d)), plain, atol=1e-12)


@pytest.mark.parametrize("size", [(4, 4), (5, 7), (3, 9), (8, 6), (1, 2), (28, 28)])
@pytest.mark.parametrize("padding", ["same", "valid", 2, ((0, 1), (2, 0))])
def test_it_agrees_with_the_plain_way(size, padding):
    if padding == "valid" and min(size) < 3 or padding == ((0, 1), (2, 0)) and min(size) < 2:
        size = (4, 5)
    rng = np.random.default_rng(0)
    x, w, b = rng.standard_normal((3, *size, 2)), rng.standard_normal((3, 3, 2, 5)), rng.standard_normal(5)
    _, pads, out = geometry("conv2d", size, (3, 3), 1, padding)
    y = winograd.winograd(x, w, b, pads, out)
    np.testing.assert_allclose(y, unfold_product(x, w, b, (1, 1), pads, out), atol=1e-10)
    gy = rng.standard_normal(y.shape)
    np.testing.assert_allclose(winograd.winograd_weight(x, gy, pads), weight_product(x, gy, (3, 3), (1, 1), pads),
                               atol=1e-9)


def test_many_channels_take_it_and_their_gradients_are_right(monkeypatch):
    rng, taken = np.random.default_rng(0), []

    def noted(f):
        return lambda *args: taken.append(f.__name__) or f(*args)
    for f in (winograd.winograd, winograd.winograd_weight):
        monkeypatch.setattr(f"scratchnet.ops.convolution.{f.__name__}", noted(f))
    x, w, b = rng.standard_normal((2, 5, 6, 32)), rng.standard_normal((3, 3, 32, 33)) / 17, rng.standard_normal(33)
    check.gradients(ops.conv2d, x, w, b, order=2, entries=500)
    check.gradients(lambda y, w: ops.conv2d_transpose(y, w), rng.standard_normal((2, 5, 6, 33)), w, entries=500)
    assert set(taken) == {"winograd", "winograd_weight"}


def test_its_rounding_errors_in_float32_are_small():
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 28, 28, 64)), rng.standard_normal((3, 3, 64, 32))
    exact = ops.conv2d(x, w)
    rough = ops.conv2d(x.astype(np.float32), w.astype(np.float32))
    assert rough.dtype == np.float32 and np.abs(rough - exact).max() < 3e-5 * np.abs(exact).max()


@pytest.mark.parametrize("kernel, stride, padding", [(3, 1, "valid"), (2, 2, "same"), (3, 1, "same")])
@pytest.mark.parametrize("layout", ["new axis", "swapped axes", "reversed", "repeated", "every other"])
def test_the_layout_in_memory_does_not_matter(kernel, stride, padding, layout):
    rng = np.random.default_rng(0)
    x = {"new axis": lambda: rng.standard_normal((2, 6, 6))[..., None],
         "swapped axes": lambda: rng.standard_normal((2, 6, 1, 6)).swapaxes(2, 3),
         "reversed": lambda: rng.standard_normal((2, 6, 6, 3))[:, ::-1, ::-1, ::-1],
         "repeated": lambda: np.broadcast_to(rng.standard_normal((2, 1, 6, 1)), (2, 6, 6, 3)),
         "every other": lambda: rng.standard_normal((2, 6, 12, 6))[:, :, ::2, ::2]}[layout]()
    plain = np.empty(x.shape)
    plain[...] = x
    w = rng.standard_normal((kernel, kernel, x.shape[3], 5))
    y = ops.conv2d(plain, w, None, stride, padding)
    np.testing.assert_array_equal(ops.conv2d(x, w, None, stride, padding), y)
    gy = rng.standard_normal(y.shape)
    np.testing.assert_array_equal(ops.conv2d_weight(x, gy, (kernel, kernel), stride, padding),
                                  ops.conv2d_weight(plain, gy, (kernel, kernel), stride, padding))
    taps = np.broadcast_to(w[:, :, :, :1], w.shape)  # kernels in another layout, too
    np.testing.assert_array_equal(ops.conv2d_transpose(gy, taps, None, stride, padding, (6, 6)),
                                  ops.conv2d_transpose(gy, taps.copy(), None, stride, padding, (6, 6)))


@pytest.mark.parametrize("channels", [(2, 3), (32, 32)])
def test_a_complex_bias_is_not_cut(channels):
    x, w, b = np.ones((1, 4, 4, channels[0])), np.ones((3, 3, *channels)), 1j * np.ones(channels[1])
    for y in (ops.conv2d(x, w, b), ops.conv2d(x, w, b, 2), ops.conv2d_transpose(x, w.swapaxes(2, 3), b, 2),
              ops.dense(x, w[0, 0], b)):
        assert (y.imag == 1).all()
