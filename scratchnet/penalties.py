"""Penalties on a code, added to a loss: they make it sparse, or keep it still when its input moves."""

import math

from scratchnet import ops
from scratchnet.autograd import Tensor, check_arrays, data_of, enable_grad, grad
from scratchnet.backend import array_module, kind_of
from scratchnet.losses import check_interval
from scratchnet.settings import number


def l1_activity(h):
    """1/N Σₙⱼ |hₙⱼ|        activities h (N, K) of N images → a number        (Olshausen & Field 1996)

    ∂/∂h = sign(h)/N        ValueError without images
    """
    check_arrays("l1_activity", h=h)
    if 0 in h.shape or not h.shape:
        raise ValueError(f"l1_activity: there is no mean over images, h (N, K)={h.shape}")
    return ops.abs(h).sum() / len(h)


def sparsity_kl(h, target):
    """Σⱼ ρ ln(ρ/ρ̂ⱼ) + (1 − ρ) ln((1 − ρ)/(1 − ρ̂ⱼ)),  ρ̂ⱼ the mean of hⱼ over the batch, ρ the target

    Activities h (N, K) in [0, 1], such as those of sigmoids → a number. It is 0 if every unit is active a share ρ of
    the time. ∂/∂ρ̂ⱼ = (ρ̂ⱼ − ρ) / (ρ̂ⱼ (1 − ρ̂ⱼ))        (Ng 2011, CS294A lecture notes, "Sparse autoencoder", section 3)
    The logarithms add 10⁻⁷ to ρ̂ and 1 − ρ̂, so that the push on a dead unit is finite.
    ValueError for ρ outside (0, 1), activities outside [0, 1] and an empty batch.
    """
    target = number("sparsity_kl", "the target", target, "a share in (0, 1)", lambda x: 0 < x < 1)
    check_arrays("sparsity_kl", h=h)
    check_interval("sparsity_kl: activities", h, 0, 1, slack=1e-7)
    if 0 in h.shape or h.ndim < 2:
        raise ValueError(f"sparsity_kl: there is no mean of an empty batch, h (N, K)={h.shape}")
    mean = h.mean(axis=0)
    constant = mean.shape[0] * (target * math.log(target) + (1 - target) * math.log(1 - target))
    return constant - (target * ops.log(mean + 1e-7) + (1 - target) * ops.log(1.0 - mean + 1e-7)).sum()


def contraction_of_sigmoid(h, w):
    """The mean over images of ‖∂h/∂x‖²_F for h = σ(x w + b), in closed form: Σⱼ (hⱼ (1 − hⱼ))² Σᵢ wᵢⱼ²

    h (N, K), w (D, K) → a number; ValueError for other shapes        (Rifai et al. 2011)
    """
    check_arrays("contraction_of_sigmoid", h=h, w=w)
    if h.ndim != 2 or w.ndim != 2 or h.shape[1] != w.shape[1] or 0 in h.shape:
        raise ValueError(f"contraction_of_sigmoid: h {h.shape} and w {w.shape}, expected (N, K) and (D, K)")
    slope = h * (1.0 - h)
    return (slope * slope @ (w * w).sum(axis=0)).sum() / len(h)


def contraction(encode, x):
    """The mean over images of ‖∂h/∂x‖²_F = Σⱼ ‖∂hⱼ/∂x‖², for any encoder h that treats images one by one

    x (N, …), an array → a number. Each j takes a backward pass, recorded, so that the penalty has a gradient in the
    weights.        (Rifai et al. 2011)
    TypeError if encode(x) is not a Tensor (N, …) computed from x.
    """
    with enable_grad():
        rows = _rows_of_jacobian("contraction", encode, x, create_graph=True)
        return sum(ops.square(row).sum() for row in rows) / len(x)


def jacobian(encode, x):
    """∂h/∂x of each image, for an encoder that treats images one by one

    x (N, …), an array → an array (N, K, D), with D entries an image and K entries a code. Errors as in `contraction`.
    """
    with enable_grad():
        rows = [row.data.reshape(len(x), -1) for row in _rows_of_jacobian("jacobian", encode, x, retain_graph=True)]
    return array_module(rows[0]).stack(rows, axis=1)


def _rows_of_jacobian(op, encode, x, **options):
    """∂hⱼ/∂x for each j, in the shape of x. As images do not mix, row n of the gradient of Σₙ hₙⱼ is ∂hₙⱼ/∂xₙ."""
    check_arrays(op, x=x)
    if not callable(encode):
        raise TypeError(f"{op}: encode must be a function or a Module, got {kind_of(encode)}")
    if x.dtype.kind != "f" or x.ndim < 2 or 0 in x.shape:
        raise ValueError(f"{op}: x is {x.dtype} of shape {x.shape}, expected floating-point numbers (N, …)")
    x = Tensor(data_of(x), requires_grad=True)
    h = encode(x)
    if not isinstance(h, Tensor) or h.shape[:1] != x.shape[:1] or not h.requires_grad:
        raise TypeError(f"{op}: encode gave {kind_of(h).partition(';')[0]}, expected a Tensor (N, …) made of x")
    h = ops.flatten(h)
    return [grad(h[:, j].sum(), x, **options) for j in range(h.shape[1])]
