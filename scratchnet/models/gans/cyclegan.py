"""CycleGAN (Zhu et al. 2017): translation between two domains without pairs of examples; nets for 28×28 images.

G maps samples of domain A to B, and F maps samples of B to A. D_B tells G(a) from real samples of B, and D_A tells F(b)
from real samples of A. That alone does not say which b belongs to an a. So a round trip must end where it began:

    L = L_GAN(G, D_B) + L_GAN(F, D_A) + λ L_cyc,  L_cyc = mean |F(G(a)) − a| + mean |G(F(b)) − b|      (eq. 1 to 3)

This still leaves the pairing open. If G and F are inverse to each other, so are H∘G and F∘H⁻¹ for any invertible H; and
if H leaves the distribution of B as it is, neither D sees a difference.
"""

from scratchnet import ops
from scratchnet.autograd import check_arrays, no_grad
from scratchnet.games import losses_of
from scratchnet.initializers import he_normal
from scratchnet.layers import Conv2D, Conv2DTranspose, Sequential, check_drawn, leaky
from scratchnet.losses import l1
from scratchnet.module import Module
from scratchnet.settings import number


class CycleGAN(Module):
    """G: a (N, …) of A → like B;  F: b (N, …) of B → like A;  D_A, D_B: samples → logits, of any shape

    cycle      λ, the weight of L_cyc; |…| is averaged over the entries, so λ means the same for images of any size
    identity   weight of mean |G(b) − b| + mean |F(a) − a|, which keeps samples that are already in the target domain
               as they are; for domains that share their colours, say   (Zhu et al. 2017, section 5.2, with λ/2)
    game       a name in games.GAMES, or a pair of losses; the paper plays "least squares" (section 4)
    """

    def __init__(self, G, F, D_A, D_B, cycle=10.0, identity=0.0, game="least squares"):
        self.G, self.F, self.D_A, self.D_B = G, F, D_A, D_B
        self.cycle, self.identity = (number("CycleGAN", name, value, "a weight ≥ 0", lambda x: x >= 0)
                                     for name, value in (("cycle", cycle), ("identity", identity)))
        self.loss_of_discriminator, self.loss_of_generator = losses_of(game)

    def translate(self, a, b):
        """G(a) and F(b) as arrays: nothing is recorded, so no loss made from them can train G or F."""
        with no_grad():
            return self.G(a).data, self.F(b).data

    def check(self, a, b):
        """ValueError or TypeError unless samples of A have the range of F's results, and samples of B that of G's."""
        check_drawn("CycleGAN", a, self.F)
        check_drawn("CycleGAN", b, self.G)

    def discriminator_loss(self, a, b, fake_a, fake_b):
        """The sum of both discriminators' losses on real a, b and on fake_a = F(b), fake_b = G(a), new or older ones"""
        self.check(a, b)
        return (self.loss_of_discriminator(self.D_A(a), self.D_A(fake_a))
                + self.loss_of_discriminator(self.D_B(b), self.D_B(fake_b)))

    def generator_loss(self, a, b):
        """L, the joint loss of G and F on real a, b. The discriminators are frozen (see Module.frozen)."""
        self.check(a, b)
        fake_b, fake_a = self.G(a), self.F(b)
        with self.D_A.frozen(), self.D_B.frozen():
            loss = self.loss_of_generator(self.D_B(fake_b)) + self.loss_of_generator(self.D_A(fake_a))
        if self.cycle:
            loss = loss + self.cycle * (l1(self.F(fake_b), a, "mean") + l1(self.G(fake_a), b, "mean"))
        if self.identity:
            loss = loss + self.identity * (l1(self.G(b), b, "mean") + l1(self.F(a), a, "mean"))
        return loss


def instance_norm(x, eps=1e-5):
    """y = (x − μ)/√(σ² + ε), μ and σ² over H and W of each image and channel        x (N, H, W, C)

    The paper's nets use it. Unlike batch norm, it is the same in training and evaluation.        (Ulyanov et al. 2016)
    """
    check_arrays("instance_norm", x=x)
    eps = number("instance_norm", "eps", eps, "a number ≥ 0", lambda x: x >= 0)
    d = x - ops.mean(x, (1, 2), keepdims=True)
    return d / ops.sqrt(ops.mean(ops.square(d), (1, 2), keepdims=True) + eps)


class Residual(Module):
    """y = x + norm(conv(relu(norm(conv(x)))))        x, y (N, H, W, channels); kernels are 3×3"""

    def __init__(self, channels, *, rng):
        self.conv1 = Conv2D(channels, channels, bias=False, rng=rng, init=he_normal)
        self.conv2 = Conv2D(channels, channels, bias=False, rng=rng, init=he_normal)

    def __call__(self, x):
        return x + instance_norm(self.conv2(ops.relu(instance_norm(self.conv1(x)))))


def image_generator(channels=32, *, rng):
    """28×28×1 → 7×7×channels → a residual block → 28×28×1, in [0, 1]; kernels down and up are 8×8, with stride 4

    The paper's generators have the same plan (section 7.2); this one is as small as digits allow.
    """
    return Sequential(Conv2D(1, channels, 8, stride=4, bias=False, rng=rng, init=he_normal), instance_norm, ops.relu,
                      Residual(channels, rng=rng),
                      Conv2DTranspose(channels, 1, 8, stride=4, rng=rng), ops.sigmoid)


def image_discriminator(channels=8, *, rng):
    """28×28×1 → 14×14×channels → 7×7×(2 channels) → 7×7 logits, one for each of the overlapping patches of 22×22 pixels

    Kernels are 4×4. In the paper (section 4), patches are 70×70 of 256×256 pixels.
    """
    return Sequential(Conv2D(1, channels, 4, stride=2, rng=rng, init=he_normal), leaky,
                      Conv2D(channels, 2 * channels, 4, stride=2, rng=rng, init=he_normal), leaky,
                      Conv2D(2 * channels, 1, 4, rng=rng))
