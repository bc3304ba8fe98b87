"""Linear codes: PCA, and its likeness for pixels that are probabilities.

PCA is the autoencoder that needs no training: of all linear encoders and decoders with K numbers it makes the smallest
squared error (Bishop 2006, section 12.1). Logistic PCA keeps the linear code, but decodes through a sigmoid and
measures by cross-entropy, as the deep autoencoders here do.
"""

from numbers import Real

import numpy as np

from scratchnet import initializers, ops
from scratchnet.autograd import check_arrays, data_of
from scratchnet.backend import array_module, to_cpu
from scratchnet.losses import bce_with_logits
from scratchnet.module import Module, Parameter
from scratchnet.settings import number, whole


class PCA:
    """z = (x − μ) Vᵀ,  x̂ = μ + z V,  the rows of V (K, D) being the K leading right singular vectors of x − μ

    V are the directions along which the images vary most, singular_values (K,) the roots of N times the variances along
    them.        (Bishop 2006, eq. 12.9 ff.; in float64)
    """

    def __init__(self, images, size):
        check_arrays("PCA", images=images)
        x = np.asarray(to_cpu(data_of(images)), dtype=np.float64).reshape(len(images), -1)
        if not 1 <= size <= min(x.shape):
            raise ValueError(f"PCA: images (N, D)={x.shape} have codes of 1 to {min(x.shape)} numbers, got {size}")
        if not np.isfinite(x).all():
            raise ValueError("PCA: the images have NaN or infinite values")
        self.mean = x.mean(axis=0)
        V, values = _right_singular_vectors(x - self.mean)
        self.V, self.singular_values = V[:size], values[:size]

    def encode(self, x):
        """(N, …) → (N, K)"""
        check_arrays("PCA", x=x)
        return (_rows("PCA", to_cpu(data_of(x)), self.V) - self.mean) @ self.V.T

    def decode(self, z):
        """(N, K) → (N, D)"""
        check_arrays("PCA", z=z)
        return self.mean + z @ self.V

    def restore(self, x):
        """Images (N, …) → what is decoded from their codes, of the same shape"""
        return self.decode(self.encode(x)).reshape(x.shape)


class LogisticPCA(Module):
    """x̂ = σ(z V + b),  z the code under which x is most probable        V (K, D), b (D,)

    There is no encoder: the code of an image is the solution of a convex problem (a logistic regression on the rows of
    V), found by Newton's method. So at the best z the gradient of the loss with respect to V and b is what it would be
    if z were constant, for ∂L/∂z = 0 there.        (Collins, Dasgupta & Schapire 2002; Schein, Saul & Ungar 2003)

    ridge   λ of ½ λ ‖z‖², which keeps codes finite
    """

    def __init__(self, pixels, size, *, rng, ridge=0.01):
        for name, value in (("pixels", pixels), ("size", size)):
            number("LogisticPCA", name, value, "a number")
        if not (isinstance(ridge, Real) and ridge > 0):
            raise ValueError(f"LogisticPCA: ridge must be > 0, got {ridge!r}")
        if pixels < 1 or size < 1:
            raise ValueError(f"LogisticPCA: pixels and size are numbers ≥ 1, got {pixels} and {size}")
        pixels, size = whole("LogisticPCA", "pixels", pixels, 1), whole("LogisticPCA", "size", size, 1)
        self.V = Parameter(initializers.normal(rng, (size, pixels), std=0.1))
        self.b = Parameter(initializers.zeros(rng, (pixels,)))
        self.ridge = float(ridge)

    def encode(self, x):
        """argmin_z of the loss, for images x (N, …) → (N, K), an array

        Newton: z ← z − η H⁻¹ g,  g = (σ(a) − x) Vᵀ + λ z,  H = V diag(σ (1 − σ)) Vᵀ + λ 1,  a = z V + b, with the
        first η of 1, ½, ¼, 1/16 that lowers the loss, image by image, or none; twelve steps.
        """
        V, b = self.V.data, self.b.data
        xp, x, (K, D) = array_module(V), _rows("LogisticPCA", data_of(x), V), V.shape
        squares = (V.T[:, :, None] * V.T[:, None, :]).reshape(D, K * K)     # v_d v_dᵀ of each pixel
        z = xp.zeros((len(x), K), dtype=x.dtype)
        best = self._objective(x, z)
        for _ in range(12):
            p = ops.sigmoid(z @ V + b)
            g = (p - x) @ V.T + self.ridge * z
            H = ((p * (1.0 - p)) @ squares).reshape(-1, K, K) + self.ridge * xp.eye(K, dtype=x.dtype)
            direction = xp.linalg.solve(H, g[:, :, None])[:, :, 0]
            for eta in (1.0, 0.5, 0.25, 0.0625):
                new = z - eta * direction
                value = self._objective(x, new)
                better = (value < best)[:, None]
                z, best = xp.where(better, new, z), xp.minimum(best, value)
                direction = xp.where(better, 0.0, direction)
        return z

    def decode(self, z):
        """(N, K) → logits of the pixels (N, D)"""
        return ops.dense(z, self.V, self.b)

    def restore(self, x):
        """Images (N, …) → what is decoded from their codes, of the same shape"""
        return ops.sigmoid(self.decode(self.encode(x))).reshape(x.shape)

    def loss(self, x):
        """Cross-entropy + ½ λ ‖z‖² per image, in nats, each with its best code."""
        z = self.encode(x)
        nats = bce_with_logits(self.decode(z), ops.flatten(x), "sum")
        return (nats + 0.5 * self.ridge * (z * z).sum()) / len(x)

    def _objective(self, x, z):
        a = z @ self.V.data + self.b.data
        return (ops.softplus(a) - x * a).sum(axis=1) + 0.5 * self.ridge * (z * z).sum(axis=1)


class LSA:
    """z = x Vᵀ,  with the K leading right singular vectors of the documents (N, D), not centred, as rows of V (K, D)

    Latent semantic analysis: x are counts of words or tf-idf, z codes to compare by cosine.    (Deerwester et al. 1990)
    """

    def __init__(self, documents, size):
        x = np.asarray(documents, dtype=np.float64)
        if x.ndim != 2 or not 1 <= size <= min(x.shape):
            raise ValueError(f"LSA: documents (N, D)={x.shape} and codes of {size} numbers, expected 1 to min(N, D)")
        self.V = _right_singular_vectors(x)[0][:size]

    def encode(self, x):
        """(N, D) → (N, K)"""
        return _rows("LSA", x, self.V) @ self.V.T


def _rows(op, x, V):
    """Images (N, …) as rows (N, D), with as many pixels as V (K, D) has columns."""
    check_arrays(op, x=x)
    x = x.reshape(len(x), -1)
    if x.shape[1] != V.shape[1]:
        raise ValueError(f"{op}: rows of {x.shape[1]} numbers, expected {V.shape[1]}, as it was made for")
    return x


def _right_singular_vectors(x):
    """The right singular vectors of x (N, D) as rows of V (min(N, D), D), and the singular values, the largest first.

    x = U S V. With many rows they come from the eigenvectors and eigenvalues of xᵀx = Vᵀ S² V, which is small; then
    singular values below 10⁻⁸ of the largest are rounding.
    """
    if len(x) <= x.shape[1]:
        _, values, V = np.linalg.svd(x, full_matrices=False)
        return V, values
    squares, vectors = np.linalg.eigh(x.T @ x)
    return vectors.T[::-1], np.sqrt(np.maximum(squares[::-1], 0.0))
