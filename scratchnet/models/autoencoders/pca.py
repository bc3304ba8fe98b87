"""Linear codes: PCA, its counterpart for pixels read as probabilities, and LSA for counts of words.

PCA is the autoencoder that needs no training: of all linear encoders and decoders with K numbers it has the smallest
squared error (Bishop 2006, section 12.1). Logistic PCA adds a sigmoid to the linear decoder and minimises
cross-entropy, like the deep autoencoders here.
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
    """z = (x − μ) Vᵀ,  x̂ = μ + z V,  where the rows of V (K, D) are the K leading right singular vectors of x − μ

    The rows of V are the directions in which the images vary most, and singular_values (K,) are √(N · variance) in
    these directions, all in float64.        (Bishop 2006, eq. 12.9 ff.)
    """

    def __init__(self, images, size):
        check_arrays("PCA", images=images)
        x = np.asarray(to_cpu(data_of(images)), dtype=np.float64).reshape(len(images), -1)
        if not 1 <= size <= min(x.shape):
            raise ValueError(f"PCA: images (N, D)={x.shape} allow codes of 1 to {min(x.shape)} numbers, got {size}")
        if not np.isfinite(x).all():
            raise ValueError("PCA: the images have NaN or infinite values")
        self.mean = x.mean(axis=0)
        V, values = _right_singular_vectors(x - self.mean)
        self.V, self.singular_values = V[:size], values[:size]

    def encode(self, x):
        """Images x (N, …) → codes z (N, K)"""
        check_arrays("PCA", x=x)
        return (_flattened("PCA", to_cpu(data_of(x)), self.V) - self.mean) @ self.V.T

    def decode(self, z):
        """Codes z (N, K) → pixels x̂ (N, D)"""
        check_arrays("PCA", z=z)
        return self.mean + z @ self.V

    def restore(self, x):
        """Images x (N, …) → their reconstructions x̂, of the same shape"""
        return self.decode(self.encode(x)).reshape(x.shape)


class LogisticPCA(Module):
    """x̂ = σ(z V + b),  where z is the code that minimises the loss of x        V (K, D), b (D,)

    There is no encoder net. Newton's method finds the code of an image as the solution of a convex problem, a logistic
    regression on the rows of V. At the best z, ∂L/∂z = 0, so the gradient with respect to V and b treats z as a
    constant.        (Collins, Dasgupta & Schapire 2002; Schein, Saul & Ungar 2003)

    ridge   λ of the penalty ½ λ ‖z‖², which keeps codes finite
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
        """Images x (N, …) → codes z (N, K) = argmin_z of the loss, an array

        Twelve Newton steps z ← z − η H⁻¹ g,  g = (σ(a) − x) Vᵀ + λ z,  H = V diag(σ (1 − σ)) Vᵀ + λ 1,  a = z V + b.
        Each image takes the first η of 1, ½, ¼, 1/16 that lowers its loss, or stays where it is.
        """
        V, b = self.V.data, self.b.data
        xp, x, (K, D) = array_module(V), _flattened("LogisticPCA", data_of(x), V), V.shape
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
        """Codes z (N, K) → logits of the pixels (N, D)"""
        return ops.dense(z, self.V, self.b)

    def restore(self, x):
        """Images x (N, …) → their reconstructions x̂, of the same shape"""
        return ops.sigmoid(self.decode(self.encode(x))).reshape(x.shape)

    def loss(self, x):
        """Cross-entropy + ½ λ ‖z‖² per image, in nats, of images x (N, …) with their best codes."""
        z = self.encode(x)
        nats = bce_with_logits(self.decode(z), ops.flatten(x), "sum")
        return (nats + 0.5 * self.ridge * (z * z).sum()) / len(x)

    def _objective(self, x, z):
        """The loss of each image: x (N, D), z (N, K) → (N,)"""
        a = z @ self.V.data + self.b.data
        return (ops.softplus(a) - x * a).sum(axis=1) + 0.5 * self.ridge * (z * z).sum(axis=1)


class LSA:
    """z = x Vᵀ,  where the rows of V (K, D) are the K leading right singular vectors of the uncentred documents (N, D)

    Latent semantic analysis: x holds counts of words or tf-idf, and codes z are compared by cosine.
    (Deerwester et al. 1990)
    """

    def __init__(self, documents, size):
        x = np.asarray(documents, dtype=np.float64)
        if x.ndim != 2 or not 1 <= size <= min(x.shape):
            raise ValueError(f"LSA: documents (N, D)={x.shape} allow codes of 1 to min(N, D) numbers, got {size}")
        self.V = _right_singular_vectors(x)[0][:size]

    def encode(self, x):
        """Documents x (N, D) → codes z (N, K)"""
        return _flattened("LSA", x, self.V) @ self.V.T


def _flattened(op, x, V):
    """x (N, …) → (N, D), where D is the number of columns of V (K, D)"""
    check_arrays(op, x=x)
    x = x.reshape(len(x), -1)
    if x.shape[1] != V.shape[1]:
        raise ValueError(f"{op}: rows of {x.shape[1]} numbers, expected {V.shape[1]} as at its construction")
    return x


def _right_singular_vectors(x):
    """The right singular vectors of x (N, D) as rows of V (min(N, D), D), and the singular values, the largest first.

    x = U S V. If N > D, they come from the eigenvectors and eigenvalues of the smaller matrix xᵀx = Vᵀ S² V; singular
    values below 10⁻⁸ of the largest are then only rounding.
    """
    if len(x) <= x.shape[1]:
        _, values, V = np.linalg.svd(x, full_matrices=False)
        return V, values
    squares, vectors = np.linalg.eigh(x.T @ x)
    return vectors.T[::-1], np.sqrt(np.maximum(squares[::-1], 0.0))
