"""The library on arrays that are not NumPy's: always on the strict stand-in, and on CuPy where there is a GPU.

Every op, loss, layer, optimizer, and a training step of each model give NumPy's results and never wait for the device.
"""

from contextlib import nullcontext

import numpy as np
import pytest
import strict as stand_in
from cases import cases, layer_cases

from scratchnet import (
    Tensor,
    adversarial,
    averaging,
    backend,
    compiled,
    games,
    layers,
    losses,
    ops,
    optimizers,
    penalties,
)
from scratchnet.data import corruption
from scratchnet.models.autoencoders import Autoencoder, ConvAutoencoder, LogisticPCA
from scratchnet.models.classifier import DigitClassifier
from scratchnet.models.gans import (
    GAN,
    ConditionalGAN,
    CycleGAN,
    ImageToImage,
    PatchDiscriminator,
    UNet,
    WithLabel,
    wrong_labels,
)
from scratchnet.models.gans.conditional_gan import digit_discriminator, digit_generator
from scratchnet.models.gans.cyclegan import image_discriminator, image_generator
from scratchnet.models.vaes import ConvVAE, DenseVAE, SwitchHead, corner_switches
from scratchnet.module import Module


class StandIn:
    asarray, no_reads = staticmethod(stand_in.strict.asarray), staticmethod(stand_in.no_host_reads)

    @staticmethod
    def host(x):
        return x.get()


class GPU:
    asarray, no_reads, host = staticmethod(backend.to_gpu), nullcontext, staticmethod(backend.to_cpu)


@pytest.fixture(params=["stand-in", *(pytest.param(p, marks=pytest.mark.gpu) for p in ("gpu", "gpu, fused kernels"))])
def device(request):
    if request.param == "stand-in":
        yield StandIn
    elif not backend.gpu_available():
        pytest.skip("no GPU here")
    else:
        compiled.use_kernels(request.param != "gpu")
        yield GPU
        compiled.use_kernels(False)


def close(device, on_device, on_host, tolerance=2e-5):
    values = device.host(on_device)
    assert values.dtype == on_host.dtype
    scale = max(1.0, np.abs(on_host).max(initial=0))
    np.testing.assert_allclose(values, on_host, rtol=tolerance, atol=tolerance * scale)


def first(y):
    return y[0] if isinstance(y, tuple) else y


@pytest.mark.parametrize("name", list(cases(np.random.default_rng(0))))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_ops_and_losses_forward_and_backward(name, seed, device):
    f, *xs = cases(np.random.default_rng(seed))[name]
    xs = [x.astype(np.float32) for x in xs]
    here = [Tensor(x, requires_grad=True) for x in xs]
    there = [Tensor(device.asarray(x), requires_grad=True) for x in xs]
    y = first(f(*here))
    gy = np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32)
    gy_there = device.asarray(gy)
    with device.no_reads():
        y_there = first(f(*there))
        y_there.backward(gy_there)
    y.backward(gy)
    close(device, y_there.data, y.data)
    for a, b in zip(there, here, strict=True):
        close(device, a.grad, b.grad)


@pytest.mark.parametrize("name", list(layer_cases(np.random.default_rng(0))))
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_layers(name, seed, device):
    outputs = []
    for asarray in (np.asarray, device.asarray):
        layer, x = layer_cases(np.random.default_rng(seed))[name]
        x = x.astype(np.float32) if x.dtype.kind == "f" else x
        if isinstance(layer, Module):
            layer.move(asarray)
        x = asarray(x)
        with device.no_reads():
            y = layer(x if x.dtype.kind == "i" else Tensor(x, requires_grad=True))
            y.sum().backward()
        gradients = [p.grad for p in layer.parameters()] if isinstance(layer, Module) else []
        outputs.append([y.data, *gradients])
    for a, b in zip(outputs[1], outputs[0], strict=True):
        close(device, a, b)


OPTIMIZERS = {
    "SGD": lambda p: optimizers.SGD(p, lr=0.1), "momentum": lambda p: optimizers.SGD(p, lr=0.1, momentum=0.9),
    "Nesterov": lambda p: optimizers.SGD(p, lr=0.1, momentum=0.9, nesterov=True),
    "RMSprop": lambda p: optimizers.RMSprop(p, lr=0.01),
    "Adam, clipped": lambda p: optimizers.Adam(p, lr=0.01, clip_norm=1e-2),
    "AdamW": lambda p: optimizers.AdamW(p, lr=0.01, weight_decay=0.1),
    "Nadam, clipped": lambda p: optimizers.Nadam(p, lr=0.01, clip_value=1e-3),
    "Adagrad": lambda p: optimizers.Adagrad(p, lr=0.01, weight_decay=0.1)}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name, device):
    states = []
    for asarray in (np.asarray, device.asarray):
        rng = np.random.default_rng(0)
        model = layers.Sequential(layers.Dense(4, 6, rng=rng), ops.tanh, layers.Dense(6, 2, rng=rng)).move(asarray)
        optimizer = OPTIMIZERS[name](model.parameters())
        average = averaging.ExponentialMovingAverage(optimizer, 0.9)
        x = asarray(rng.normal(size=(5, 4)).astype(np.float32))
        with device.no_reads():
            for _ in range(3):
                loss = ops.square(model(x)).sum()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                average.update()
        for saved in (optimizer, average):
            state = saved.state_dict()
            shapes, kind = state.pop("parameters"), state.pop("optimizer", None)
            assert (kind is None) == (saved is average) and (kind is None or repr(saved).startswith(kind["class"]))
            assert list(shapes.values()) == [[4, 6], [6], [6, 2], [2]]
            assert all(isinstance(v, (int, float, np.ndarray)) for v in state.values())
            state |= {"parameters": shapes} | ({} if kind is None else {"optimizer": kind})
            saved.load_state_dict(state)
        with average.swapped():
            averaged = model.state_dict()
        states.append(model.state_dict() | {f"average of {k}": v for k, v in averaged.items()})
    for key, expected in states[0].items():
        np.testing.assert_allclose(states[1][key], expected, rtol=1e-4, atol=1e-6, err_msg=key)


def vae_step(model, x, rng):
    return model.loss(x, rng)[0]


def head_step(model, x, rng):
    argmax1, argmax2 = corner_switches(len(x), x)
    return model.loss(ops.flatten(x)[:, :128], argmax1, argmax2)


def dense_autoencoder(rng, **options):
    return Autoencoder([784, 20, 5], code=ops.sigmoid, rng=rng, **options)


def penalties_step(model, x, rng):
    h = model.encode(corruption.gaussian(x, 0.1, rng))
    return (penalties.l1_activity(h) + penalties.sparsity_kl(h, 0.1) + penalties.contraction(model.encode, x)
            + 0.0 * model.loss(x))


def gan(rng, packing=1, game="non-saturating"):
    generator = layers.Sequential(layers.Dense(4, 784, rng=rng), ops.sigmoid, layers.Reshape(28, 28, 1))
    discriminator = layers.Sequential(
        layers.SpectralConv2D(packing, 2, 4, 4, rng=rng), layers.leaky, layers.Flatten(),
        layers.Maxout(98, 5, 3, rng=rng), layers.MinibatchDiscrimination(5, 3, 2, rng=rng), layers.Dense(8, 1, rng=rng))
    return GAN(generator, discriminator, 4, game, packing)


def gan_step(model, x, rng):
    """Both losses with all options: packs, replay, gradient penalty, unrolling, smoothed labels."""
    replay, z = adversarial.Replay(4, rng), model.noise(len(x), rng, x)
    replay.mix(model.generate(z))
    fake = replay.mix(model.generate(z))
    loss = model.discriminator_loss(x, fake) + games.minimax_discriminator(model.judge(x), model.judge(fake), 0.1)
    if model.packing == 1:
        loss = loss + adversarial.gradient_penalty(model.discriminator, x, fake, rng)
    drawn = model.generator(z)
    with adversarial.unrolled(model.discriminator, lambda: model.discriminator_loss(x, drawn), 1, 0.1):
        return loss + model.loss_of_generator(model.judge(drawn)) + model.generator_loss(z)


def conditional_gan(rng):
    return ConditionalGAN(WithLabel(digit_generator(4 + 10, rng=rng), 10),
                          WithLabel(digit_discriminator(784 + 10, rng=rng), 10), 4)


def conditional_step(model, x, rng):
    y, z = backend.array_module(x).arange(3), model.noise(3, rng, x)
    return (model.discriminator_loss(x, y, model.generate(z, y), wrong_labels(y, 10, rng))
            + model.generator_loss(z, y))


def image_to_image(rng):
    return ImageToImage(UNet(2, rng=rng), PatchDiscriminator(2, rng=rng), 10.0)


def cycle_gan(rng):
    return CycleGAN(*(image_generator(2, rng=rng) for _ in "GF"), *(image_discriminator(2, rng=rng) for _ in "AB"),
                    identity=0.5)


MODELS = {
    **{f"GAN, {name}": (gan, {"game": name}, gan_step) for name in games.GAMES},
    "GAN, packs": (gan, {"packing": 3}, gan_step), "ConditionalGAN": (conditional_gan, {}, conditional_step),
    "ImageToImage": (image_to_image, {}, lambda m, x, rng: (
        m.discriminator_loss(0.5 * x, x, m.generate(0.5 * x)) + m.generator_loss(0.5 * x, x))),
    "CycleGAN": (cycle_gan, {}, lambda m, x, rng: (
        m.discriminator_loss(x, 1.0 - x, *m.translate(1.0 - x, x)[::-1]) + m.generator_loss(x, 1.0 - x))),
    "DenseVAE": (DenseVAE, {}, vae_step), "DenseVAE, lecture": (DenseVAE, {"objective": "lecture"}, vae_step),
    "DenseVAE, Gaussian": (DenseVAE, {"likelihood": "gaussian"}, vae_step), "ConvVAE": (ConvVAE, {}, vae_step),
    "SwitchHead": (SwitchHead, {}, head_step),
    "DigitClassifier": (DigitClassifier, {}, lambda m, x, rng: losses.mse(m(x), m(x).data * 0.0, "mean")),
    "Autoencoder, masked": (dense_autoencoder, {}, lambda m, x, rng: m.loss(corruption.masking(x, 0.3, rng), x)),
    "Autoencoder, salt and pepper": (dense_autoencoder, {"tied": True},
                                     lambda m, x, rng: m.loss(corruption.salt_and_pepper(x, 0.3, rng), x)),
    "Autoencoder, penalties": (dense_autoencoder, {}, penalties_step),
    "ConvAutoencoder, unpool": (ConvAutoencoder, {"up": "unpool"}, lambda m, x, rng: m.loss(x)),
    "ConvAutoencoder, repeat": (ConvAutoencoder, {"up": "repeat"}, lambda m, x, rng: m.loss(x)),
    "ConvAutoencoder, transposed": (ConvAutoencoder, {"up": "transposed"}, lambda m, x, rng: m.loss(x)),
    "LogisticPCA": (LogisticPCA, {"pixels": 784, "size": 3}, lambda m, x, rng: m.loss(x))}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_training_step_of_each_model(name, dtype, device):
    """The losses agree in both dtypes, the gradients in float64. In float32 an activation near 0 may round to the other
    side of its kink, and change a gradient by more than rounding."""
    make, options, step = MODELS[name]
    states = []
    for asarray in (np.asarray, device.asarray):
        rng = np.random.default_rng(0)
        x = asarray(rng.random((3, 28, 28, 1), dtype=np.float32).astype(dtype))
        model = make(rng=rng, **options).move(lambda a, asarray=asarray: asarray(a.astype(dtype)))
        optimizer = optimizers.Adam(model.parameters(), lr=1e-3)
        with device.no_reads():
            loss = step(model, x, rng)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        states.append({"loss": loss.numpy()} | {n: backend.to_cpu(p.grad) for n, p in model.named_parameters().items()})
    expected, found = states
    np.testing.assert_allclose(found["loss"], expected["loss"], rtol={"float32": 1e-3, "float64": 1e-10}[dtype])
    for key, a in found.items():
        assert a.dtype == expected[key].dtype == dtype and np.isfinite(a).all(), key
        if dtype == "float64":
            scale = np.abs(expected[key]).max()
            np.testing.assert_allclose(a, expected[key], rtol=1e-8, atol=1e-9 * scale + 1e-12, err_msg=key)


def test_weights_go_from_host_to_device_and_back(device):
    model = DigitClassifier(rng=np.random.default_rng(0))
    there = DigitClassifier(rng=np.random.default_rng(1)).move(device.asarray)
    there.load_state_dict(model.state_dict())
    assert type(next(iter(there.named_parameters().values())).data) is type(device.asarray(np.ones(1)))
    there.to_cpu()
    for name, p in model.named_parameters().items():
        np.testing.assert_array_equal(there.named_parameters()[name].data, p.data)


@pytest.mark.parametrize("call", [
    lambda a, b: ops.add(Tensor(a), b), lambda a, b: Tensor(a) * b, lambda a, b: b + Tensor(a),
    lambda a, b: ops.dense(Tensor(a), b), lambda a, b: ops.concat([Tensor(a), b]), lambda a, b: ops.maximum(a, b)])
def test_a_host_array_meeting_a_device_array_is_one_clear_error(call, device):
    host = np.ones((3, 3), np.float32)
    with pytest.raises(TypeError, match="arrays of .*(numpy|strict|cupy) and .*(numpy|strict) meet in one op"):
        call(device.asarray(host), host)


def test_the_stand_in_refuses_what_cupy_refuses():
    x = stand_in.strict.asarray(np.ones((2, 3)))
    for refused in (lambda: np.asarray(x), lambda: x + np.ones(3), lambda: np.ones(3) + x, lambda: [1, 2, 3][x[0, 0]],
                    lambda: stand_in.strict.exp(np.ones(3)), lambda: x[np.array([0])],
                    lambda: stand_in.strict.add(x, x, out=np.ones((2, 3)))):
        with pytest.raises(TypeError):
            refused()
    with pytest.raises(NotImplementedError):
        stand_in.strict.maximum.reduce(x)
    for read in (float, int, bool):
        with pytest.raises(stand_in.HostRead), stand_in.no_host_reads():
            read(x[0, 0])
    with pytest.raises(stand_in.HostRead), stand_in.no_host_reads():
        x[x > 0]
    before = stand_in.reads.count
    x.sum().item()
    assert stand_in.reads.count == before + 1
    if stand_in.cupy is not None:
        with pytest.raises(AttributeError):
            stand_in.strict.vecdot(x, x)
