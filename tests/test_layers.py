"""Layers and Module: names, saving, loading, moving, modes, repr."""

import collections.abc
import copy
import dataclasses
import functools
import inspect
import pickle
import types

import numpy as np
import pytest
from cases import layer_cases, tape_dies
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import Tensor, backend, check, layers, ops
from scratchnet.layers import BatchNorm, Conv2D, Conv2DTranspose, Dense, Dropout, Embedding, Sequential, TimeEmbedding
from scratchnet.module import Module, Parameter
from scratchnet.optimizers import SGD


class Tied(Module):
    def __init__(self, rng):
        self.scale = Parameter(np.ones(3, np.float32))
        self.first = Dense(4, 3, rng=rng)
        self.again = self.first
        self.parts = [Dense(3, 2, rng=rng, bias=False), ops.relu, BatchNorm(2)]


def test_names_are_stable_and_shared_parameters_appear_once():
    model = Tied(np.random.default_rng(0))
    assert list(model.named_parameters()) == [
        "scale", "first.w", "first.b", "parts.0.w", "parts.2.gamma", "parts.2.beta"]
    assert list(model.named_buffers()) == ["parts.2.mean", "parts.2.var"]
    assert sum(p.size for p in model.parameters()) == 3 + 15 + 6 + 4


def test_state_round_trip_is_in_place_and_checked_before_anything_changes():
    a, b = Tied(np.random.default_rng(0)), Tied(np.random.default_rng(1))
    optimizer = SGD(b.parameters(), lr=1.0)
    views = [p.data for p in b.parameters()]
    state = a.state_dict()
    b.load_state_dict(state)
    assert all(p.data is view for p, view in zip(b.parameters(), views, strict=True))  # still the optimizer's
    for name, value in b.state_dict().items():
        np.testing.assert_array_equal(value, state[name])
    optimizer.zero_grad()
    before = b.state_dict()
    wrong = {**state, "first.w": np.zeros((5, 3)), "stranger": np.zeros(1)}
    del wrong["scale"]
    with pytest.raises(ValueError) as caught:
        b.load_state_dict(wrong)
    for part in ("missing: scale (3,)", "unexpected: stranger (1,)", "first.w: shape (5, 3) instead of (4, 3)", "Tied"):
        assert part in str(caught.value)
    for name, value in b.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    state["scale"][:] = 7  # a copy
    assert (a.scale.data == 1).all()


def test_loading_makes_older_tapes_stale():
    model = Sequential(Dense(2, 2, rng=np.random.default_rng(0)))
    y = model(Tensor(np.ones((1, 2), np.float32), requires_grad=True)).sum()
    model.load_state_dict(model.state_dict())
    with pytest.raises(RuntimeError, match="changed in place"):
        y.backward()


@pytest.mark.parametrize("shape", [(2, 1), (2, 5), ()])
def test_batch_norm_wants_its_channels_in_evaluation_as_in_training(shape):
    for layer in (BatchNorm(4), BatchNorm(4).eval()):
        with pytest.raises(ValueError, match=r"x \(…, C\)="):
            layer(np.ones(shape))
    with pytest.raises(ValueError, match="^BatchNorm: .*expected C=1 channels"):
        BatchNorm(1).eval()(np.ones((2, 3)))


def test_batch_norm_in_both_modes():
    rng = np.random.default_rng(0)
    layer, x = BatchNorm(3, momentum=0.8), rng.normal(2, 3, (40, 5, 3)).astype(np.float32)
    mean, var = np.zeros(3), np.ones(3)
    for _ in range(4):
        y = layer(x)
        mean = 0.8 * mean + 0.2 * x.mean((0, 1))
        var = 0.8 * var + 0.2 * x.var((0, 1), ddof=1)
    np.testing.assert_allclose(y.data.mean((0, 1)), 0, atol=1e-5)
    np.testing.assert_allclose(y.data.std((0, 1)), 1, atol=1e-3)
    np.testing.assert_allclose(layer.mean, mean, rtol=1e-5)
    np.testing.assert_allclose(layer.var, var, rtol=1e-5)
    Sequential(layer).eval()
    np.testing.assert_allclose(layer(x).data, (x - mean) / np.sqrt(var + 1e-5), rtol=1e-3, atol=1e-4)
    assert layer.mean.dtype == np.float32 == layer(x).dtype


def test_dropout_only_in_training():
    layer, x = Dropout(0.5, rng=np.random.default_rng(0)), np.ones(1000, np.float32)
    assert set(np.unique(layer(x))) == {0.0, 2.0}
    assert layer.eval()(x) is x and set(np.unique(layer.train()(x))) == {0.0, 2.0}


def test_conv_transpose_inverts_the_shape_of_conv():
    rng = np.random.default_rng(0)
    x = np.ones((2, 9, 7, 3), np.float32)
    for stride in (1, 2, 3):
        y = Conv2D(3, 4, 5, stride, rng=rng)(x)
        back = Conv2DTranspose(4, 3, 5, stride, output_size=(9, 7), rng=rng)(y)
        assert back.shape == x.shape


LAYERS = list(layer_cases(np.random.default_rng(0)))
seeds = st.integers(0, 2**32 - 1)


def test_every_layer_has_a_row():
    public = {name for name, value in vars(layers).items() if isinstance(value, type) and issubclass(value, Module)}
    assert public - {"Module"} == {name.split(",")[0] for name in LAYERS}


@pytest.mark.parametrize("name", LAYERS)
@given(seed=seeds)
def test_gradients_in_inputs_and_parameters(name, seed):
    layer, x = layer_cases(np.random.default_rng(seed))[name]
    check.gradients(layer, x, parameters=layer if isinstance(layer, Module) else None, order=2, seed=seed, entries=500)


@pytest.mark.parametrize("name", LAYERS)
@given(seed=seeds)
def test_float32_stays_and_nothing_given_is_changed(name, seed):
    layer, x = layer_cases(np.random.default_rng(seed))[name]
    x = x.astype(np.float32) if x.dtype.kind == "f" else x
    before, weights = x.copy(), layer.state_dict() if isinstance(layer, Module) else {}
    t = Tensor(x, requires_grad=True) if x.dtype.kind == "f" else x
    y = layer(t)
    assert y.dtype == np.float32
    y.backward(np.random.default_rng(seed).standard_normal(y.shape).astype(np.float32))
    np.testing.assert_array_equal(x, before)
    leaves = ([t] if x.dtype.kind == "f" else []) + (layer.parameters() if isinstance(layer, Module) else [])
    for leaf in leaves:
        assert leaf.grad.dtype == np.float32 and leaf.grad.shape == leaf.shape
    for parameter, value in weights.items():
        if parameter not in ("mean", "var", "steps.1.mean", "steps.1.var"):  # running averages change
            np.testing.assert_array_equal(layer.state_dict()[parameter], value)


@pytest.mark.parametrize("name", LAYERS)
def test_the_tape_of_a_layer_dies_without_the_collector(name):
    layer, x = layer_cases(np.random.default_rng(1))[name]
    assert tape_dies(lambda: layer(Tensor(x, requires_grad=True) if x.dtype.kind == "f" else x))


def test_a_numpy_scalar_is_a_setting_and_no_buffer():
    layer = layers.BatchNorm(2)
    layer.rate, layer.kind = np.float64(0.1), np.str_("slow")
    assert list(layer.named_buffers()) == ["mean", "var"]
    layer.load_state_dict(layer.state_dict())


def test_preserved_undoes_changes_of_data_and_buffers():
    layer = BatchNorm(3)
    state, gamma, mean = layer.state_dict(), layer.gamma.data, layer.mean
    with layer.preserved():
        layer.gamma.data = np.full(3, 7.0)
        layer.beta.data += 1
        layer(np.ones((4, 3), np.float32))
        layer.var[...] = 9
    assert layer.gamma.data is gamma and layer.mean is mean
    for name, value in layer.state_dict().items():
        np.testing.assert_array_equal(value, state[name])


def test_a_loss_of_weights_that_preserved_undid_has_no_gradient():
    rng = np.random.default_rng(0)
    net = Sequential(Dense(3, 4, rng=rng), Dense(4, 2, rng=rng))
    optimizer = SGD(net.parameters(), lr=0.1)
    with net.preserved():
        ops.square(net(np.ones((4, 3), np.float32))).sum().backward()
        optimizer.step()
        loss = ops.square(net(np.ones((4, 3), np.float32))).sum()
    with pytest.raises(RuntimeError, match="changed in place"):
        loss.backward()


def test_embedding_refuses_indices_out_of_range():
    layer = Embedding(5, 3, rng=np.random.default_rng(0))
    assert layer(np.array([[0, 4]])).shape == (1, 2, 3)
    with pytest.raises(ValueError, match="must lie in 0 … 4, got 5"):
        layer(np.array([5]))
    with pytest.raises(TypeError, match="must be an array of integers"):
        layer(np.array([1.0]))


def test_repr_shows_shapes_and_counts():
    text = repr(Tied(np.random.default_rng(0)))
    assert "28 parameters" in text and "Dense 4 → 3" in text and "Parameter (3,)" in text
    text = repr(Conv2D(1, 64, rng=np.random.default_rng(0)))
    assert text.endswith("Conv2D 1 → 64, 3×3, stride 1, same  640 parameters")


def test_repr_of_layers_in_layers():
    class Net(Module):
        def __init__(self, rng):
            self.body = Sequential(Conv2D(1, 8, rng=rng), ops.relu, layers.BatchNorm(8), Sequential(
                Dense(8, 4, rng=rng, bias=False), layers.Flatten(), layers.Reshape(2, 3)))
            self.bias = Parameter(np.zeros((2, 3)))
            self.words = layers.Embedding(1000, 2, rng=rng)
    assert repr(Net(np.random.default_rng(0))) == """\
               Net                                                2,134 parameters
  bias         Parameter (2, 3)                                                  6
  body         Sequential Conv2D → relu → BatchNorm → Sequential               128
    steps.0    Conv2D 1 → 8, 3×3, stride 1, same                                80
    steps.2    BatchNorm 8 channels, momentum 0.9                               16
    steps.3    Sequential Dense → Flatten → Reshape                             32
      steps.0  Dense 8 → 4                                                      32
      steps.1  Flatten
      steps.2  Reshape (N, 2, 3)
  words        Embedding 1000 × 2                                            2,000"""


def test_parameters_are_a_list_and_gpus_are_asked_for():
    model = Dense(2, 3, rng=np.random.default_rng(0))
    assert model.parameters() == [model.w, model.b]
    assert model.to_cpu() is model and isinstance(model.w.data, np.ndarray)
    if not backend.gpu_available():
        with pytest.raises(RuntimeError, match="no CUDA device"):
            model.to_gpu()


@pytest.mark.parametrize("make, shape, settings, parameters", [
    (Dense, (2, 3), {}, {"w": (3, 5), "b": (5,)}),
    (Conv2D, (2, 7, 6, 5), {"stride": 1, "padding": "same"}, {"w": (3, 3, 3, 5), "b": (5,)}),
    (layers.Conv2DTranspose, (2, 7, 6, 5), {"stride": 1, "padding": "same", "output_size": None},
     {"w": (3, 3, 5, 3), "b": (5,)})])
def test_defaults_of_layers(make, shape, settings, parameters):
    layer = make(3, 5, rng=np.random.default_rng(0))
    assert {name: p.shape for name, p in layer.named_parameters().items()} == parameters
    assert {name: getattr(layer, name) for name in settings} == settings
    assert not layer.b.data.any() and layer.training
    x = np.ones((*shape[:-1], 3), np.float32)
    assert layer(x).shape == (*shape[:-1], 5)
    assert make(3, 5, rng=np.random.default_rng(0), bias=False).b is None


def test_default_numbers_of_normalization_and_pooling():
    norm, pool = layers.BatchNorm(3), layers.MaxPoolWithArgmax()
    assert (norm.momentum, norm.eps, layers.LayerNorm(3).eps) == (0.9, 1e-5, 1e-5)
    assert (layers.LayerNorm(3).gamma.data == 1).all() and not layers.LayerNorm(3).beta.data.any()
    assert (norm.gamma.data == 1).all() and (norm.var == 1).all() and not norm.beta.data.any() and not norm.mean.any()
    assert (pool.size, pool.stride, pool.padding) == (2, None, "valid")
    x = np.random.default_rng(0).normal(size=(1, 4, 6, 2))
    np.testing.assert_array_equal(layers.MaxPool2D()(x), ops.max_pool(x))
    np.testing.assert_array_equal(layers.AvgPool2D()(x), ops.avg_pool(x))
    np.testing.assert_array_equal(layers.Flatten()(x), x.reshape(1, -1))
    np.testing.assert_array_equal(layers.Reshape(6, -1)(x), x.reshape(1, 6, 8))
    np.testing.assert_array_equal(layers.UpSampling2D()(x), x.repeat(2, 1).repeat(2, 2))
    net = Sequential(ops.relu)
    net.steps.append(ops.square)
    np.testing.assert_array_equal(net(x), np.maximum(x, 0) ** 2)


def test_frozen_parameters_let_the_gradient_pass():
    layer = Sequential(Dense(3, 2, rng=np.random.default_rng(0)), Dense(2, 1, rng=np.random.default_rng(1)))
    layer.steps[1].w.requires_grad = False
    x = Tensor(np.ones((2, 3), np.float32), requires_grad=True)
    with pytest.raises(KeyError), layer.frozen():
        layer(x).sum().backward()
        raise KeyError
    assert x.grad is not None and all(p.grad is None for p in layer.parameters())
    assert [p.requires_grad for p in layer.parameters()] == [True, True, False, True]


def test_time_embedding():
    layer, t = TimeEmbedding(8), np.array([0, 1, 500])
    omega = 10000.0 ** (-np.arange(4) / 4)
    np.testing.assert_allclose(layer(t), np.concatenate([np.sin(t[:, None] * omega), np.cos(t[:, None] * omega)], 1),
                               atol=1e-4)
    assert layer(t).dtype == layer(t.astype(np.float32)).dtype == np.float32
    exact = np.sin(t[:, None] * omega)  # for times in float64, to the last digit
    np.testing.assert_allclose(layer(t.astype(np.float64))[:, :4], exact, atol=1e-12)
    assert repr(layer).strip() == "TimeEmbedding 8  0 parameters"
    for size in (0, 5):
        with pytest.raises(ValueError, match="even number ≥ 2"):
            TimeEmbedding(size)


class Nested(Module):
    """Parameters, arrays and parts in containers of every kind."""

    def __init__(self):
        rng = np.random.default_rng(0)
        self.ws = [[Parameter(np.full(2, 1.0)), Parameter(np.full(2, 2.0))], Parameter(np.full(2, 3.0))]
        self.parts = {"encoder": Dense(2, 2, rng=rng), "blocks": (Dense(2, 1, rng=rng, bias=False), ops.relu)}
        self.averages = (np.zeros(3), {"var": np.ones(3)})
        self.b, self.sizes, self.words, self.kind = Parameter(np.zeros(1)), {3: "three"}, {"a", "b"}, np.float32


NAMES = ["ws.0.0", "ws.0.1", "ws.1", "b", "parts.encoder.w", "parts.encoder.b", "parts.blocks.0.w"]


def test_contents_of_containers_are_found_at_any_depth():
    model = Nested()
    assert list(model.named_parameters()) == NAMES and len(model.parameters()) == 7
    assert list(model.children()) == ["parts.encoder", "parts.blocks.0"]
    assert list(model.named_buffers()) == ["averages.0", "averages.1.var"]
    assert not model.eval().parts["blocks"][0].training
    assert "ws.0.1" in repr(model) and "parts.blocks.0" in repr(model)

    other = Nested()
    for p in other.parameters():
        p.data += 1
    other.averages[1]["var"] += 4
    model.load_state_dict(other.state_dict())
    assert (model.ws[0][1].data == 3).all() and (model.averages[1]["var"] == 5).all()


def test_contents_of_containers_are_moved_preserved_and_substituted():
    model = Nested()
    averages, before = model.averages, model.state_dict()
    with model.preserved():
        model.averages = (model.averages[0] + 1, {"var": model.averages[1]["var"] + 1})
        model.ws[0][0].data += 1
        averages[1]["var"][:] = 7
    assert model.averages is averages
    for name, value in model.state_dict().items():
        np.testing.assert_array_equal(value, before[name])
    stand_ins = [Tensor(2 * p.data) for p in model.parameters()]
    with model.substituted(stand_ins):
        assert model.ws[0][0] is stand_ins[0] and model.parts["blocks"][0].w is stand_ins[-1]
    assert list(model.named_parameters()) == NAMES
    model.move(lambda a: a.astype(np.float32))
    assert {a.dtype for a in model.state_dict().values()} == {np.dtype(np.float32)}
    assert isinstance(model.averages, tuple) and model.parts["blocks"][1] is ops.relu


@pytest.mark.parametrize("held, words", [
    ({0: Parameter(np.zeros(1))}, "the dict held has the key 0"), ({None: np.zeros(1)}, "has the key None"),
    ([{"a.b": Dense(1, 1, rng=np.random.default_rng(0))}], "the dict held.0 has the key 'a.b'"),
    ({"": np.zeros(1)}, "keys are strings without a dot"), ({Parameter(np.zeros(1))}, "held is a set"),
    (np.array([Dense(1, 1, rng=np.random.default_rng(0)), None]), "held is an array of objects")])
def test_containers_that_give_no_names_are_refused(held, words):
    model = Module()
    model.held = held
    with pytest.raises(TypeError, match=f"Module: .*{words}"):
        model.parameters()


@dataclasses.dataclass(frozen=True)
class Record:
    part: object
    __slots__ = ("part",)


class Holder:
    def __init__(self, part):
        self.part = part


@pytest.mark.parametrize("hold, name", [
    (lambda p: collections.UserDict(a=p), "a"), (lambda p: collections.UserList([p]), "0"),
    (lambda p: types.MappingProxyType({"a": p}), "a"), (lambda p: collections.ChainMap({"a": p}), "a"),
    (lambda p: collections.deque([p]), "0"), (lambda p: collections.OrderedDict(a=(p,)), "a.0")])
def test_sequences_and_mappings_of_every_kind_are_opened(hold, name):
    model = Module()
    model.held, model.average = hold(Parameter(np.ones(2))), hold(np.ones(2))
    assert list(model.named_parameters()) == [f"held.{name}"]
    assert list(model.named_buffers()) == [f"average.{name}"]
    kind = type(model.average)
    model.move(lambda a: a.astype(np.float32) + 1)
    assert type(model.average) is kind and (model.state_dict()[f"average.{name}"] == 2).all()
    with model.substituted([Tensor(np.zeros(2))]):
        assert not model.parameters()
    assert len(model.parameters()) == 1


def test_a_sequence_that_cannot_be_changed_is_opened_and_not_moved():
    class Pair(collections.abc.Sequence):
        def __init__(self, *parts):
            self.parts = parts

        def __len__(self):
            return len(self.parts)

        def __getitem__(self, i):
            return self.parts[i]

    model = Module()
    model.held = Pair(Parameter(np.zeros(1)), np.zeros(2))
    assert list(model.state_dict()) == ["held.0", "held.1"]
    with pytest.raises(TypeError, match="a Pair cannot be changed"):
        model.move(lambda a: a + 1)


@pytest.mark.parametrize("hold", [
    Record, Holder, lambda p: types.SimpleNamespace(parts=[p]), lambda p: {"a": p}.values(), lambda p: {"a": p}.items(),
    lambda p: (x for x in [p]), lambda p: iter([p]), lambda p: map(abs, (p,)), lambda p: functools.partial(print, p),
    lambda p: functools.partial(print, end=p), lambda p: [Holder({"a": p})], lambda p: {p: 1},
    lambda p: Holder(Record(p))])
@pytest.mark.parametrize("part", [Parameter(np.zeros(1)), BatchNorm(1)])
def test_parts_without_a_name_are_refused_unless_named_elsewhere(hold, part):
    model = Module()
    model.held = hold(part)
    for use in (model.parameters, model.state_dict, model.zero_grad):
        with pytest.raises(TypeError, match="Module: held is .* and holds Parameters or Modules where they get no"):
            use()
    model.part = part
    assert model.parameters()
    whole = Module()
    whole.model = model
    assert len(whole.parameters()) == len(model.parameters())


def test_inspecting_an_iterator_takes_nothing_out():
    model, part = Module(), Dense(1, 1, rng=np.random.default_rng(0))
    model.part, model.held, model.lazy = part, iter([part, 2]), (x for x in [part, 3])
    model.parameters()
    assert list(model.held) == [part, 2] and list(model.lazy) == [part, 3]
    model.parameters()


def test_attributes_of_the_class_are_refused():
    class Shared(Module):
        w, sizes = Parameter(np.zeros(1)), [1, 2]

    class Below(Shared):
        pass

    with pytest.raises(TypeError, match="Below: w is an attribute of the class.* self.w = …"):
        Below().parameters()
    own = Below()
    own.w = Parameter(np.ones(2))
    assert own.parameters() == [own.w]


@pytest.mark.parametrize("make", [lambda: Parameter(np.zeros(1)), lambda: np.zeros(1), lambda: BatchNorm(1)])
def test_names_that_clash_are_refused(make):
    model = Module()
    setattr(model, "a.b", make())
    names = set(model.state_dict())
    assert all(name.startswith("a.b") for name in names)
    model.a = {"b": make()}
    with pytest.raises(ValueError, match="Module: two of its parts have the name 'a.b'"):
        model.state_dict()


def test_repr_of_deeply_nested_modules():
    model = Module()
    for _ in range(1100):
        model, model.part = Module(), model
    assert repr(model).count("\n") == 1100


def test_a_state_for_a_read_only_array_changes_nothing():
    layer = BatchNorm(2)
    state = {name: a + 1 for name, a in layer.state_dict().items()}
    layer.var.flags.writeable = False
    with pytest.raises(ValueError, match="var: is read-only here"):
        layer.load_state_dict(state)
    assert (layer.gamma.data == 1).all() and (layer.mean == 0).all()
    with layer.preserved():
        layer.gamma.data += 1
    assert (layer.gamma.data == 1).all()


def test_parts_that_refer_to_the_whole_count_once():
    class Child(Module):
        def __init__(self, parent):
            self.parent, self.layer = parent, Dense(2, 2, rng=np.random.default_rng(0))

    class Parent(Module):
        def __init__(self):
            self.layer, self.children_of_mine = Dense(2, 3, rng=np.random.default_rng(1)), []
            self.children_of_mine += [Child(self), Child(self), self, self.children_of_mine]

    model = Parent()
    names = ["layer.w", "layer.b", "children_of_mine.0.layer.w", "children_of_mine.0.layer.b",
             "children_of_mine.1.layer.w", "children_of_mine.1.layer.b"]
    assert list(model.named_parameters()) == names and set(model.state_dict()) == set(names)
    assert "21 parameters" in repr(model) and "(above)" in repr(model)
    assert not model.eval().children_of_mine[1].training
    assert len(copy.deepcopy(model).parameters()) == 6
    peers = [Child(None) for _ in range(30)]
    for peer in peers:
        peer.parent = peers
    assert len(peers[0].parameters()) == 60 and len(repr(peers[0])) < 200000


def test_modules_can_be_copied_and_pickled():
    model = Sequential(Dense(3, 4, rng=np.random.default_rng(0)), ops.relu, BatchNorm(4))
    optimizer, x = SGD(model.parameters(), lr=0.1), np.ones((5, 3), np.float32)
    model(x).sum().backward()
    optimizer.step()
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        before = model.state_dict()
        for name, value in twin.state_dict().items():
            np.testing.assert_array_equal(value, before[name])
        own = SGD(twin.parameters(), lr=0.1)
        own.zero_grad()
        twin(x).sum().backward()
        own.step()
        assert any((twin.state_dict()[name] != value).any() for name, value in before.items())
        for name, value in model.state_dict().items():
            np.testing.assert_array_equal(value, before[name])


def test_gradients_are_forgotten():
    model = Nested()
    sum(ops.square(p).sum() for p in model.parameters()).backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.parametrize("value, words", [
    (np.array([1.0, np.nan]), "NaN or infinite"), (np.array([1.0, np.inf]), "NaN or infinite"),
    (np.array([1.0, 1e300]), "too large for float32"), (np.array([1j, 0]), "complex128 instead of float32"),
    (np.array([1, 2]), "int64 instead of float32"), (np.array([None, 1]), "object instead of float32"),
    (np.array([True, False]), "bool instead of float32"), ([1.0, 2.0], "expected an array, got a list"),
    (Tensor(np.ones(2)), "expected an array, got a Tensor"), (None, "expected an array, got None"),
    (np.ma.masked_array([1.0, 2.0], [0, 1]), "expected an array"), (1.0, "expected an array, got a float 1.0")])
@pytest.mark.parametrize("name", ["beta", "mean"])
def test_a_state_of_a_wrong_kind_changes_nothing(name, value, words):
    layer = BatchNorm(2)
    state = layer.state_dict()
    if name == "mean" and words == "NaN or infinite" and np.isinf(value).any():
        layer.load_state_dict(state | {name: value})  # a buffer may hold −∞, as masks do
        return
    with pytest.raises(ValueError, match=f"{name}: .*{words}"):
        layer.load_state_dict(state | {"gamma": np.full(2, 5.0), name: value})
    assert (layer.gamma.data == 1).all()


def test_a_state_is_a_dict():
    for state in (None, [], Dense(1, 1, rng=np.random.default_rng(0))):
        with pytest.raises(TypeError, match="load_state_dict: expected a dict"):
            BatchNorm(2).load_state_dict(state)
    with pytest.raises(ValueError, match="unexpected: more"):
        BatchNorm(2).load_state_dict(BatchNorm(2).state_dict() | {"more": None})


RNG = np.random.default_rng(0)
SIZED = {  # layer → (its constructor, valid arguments, names of the sizes)
    "Dense": (Dense, {"inputs": 3, "outputs": 2}, ["inputs", "outputs"]),
    "SpectralDense": (layers.SpectralDense, {"inputs": 3, "outputs": 2}, ["inputs", "outputs"]),
    "Conv2D": (Conv2D, {"channels_in": 1, "channels_out": 2, "kernel": 3, "stride": 2},
               ["channels_in", "channels_out", "kernel", "stride"]),
    "Conv2DTranspose": (Conv2DTranspose, {"channels_in": 1, "channels_out": 2, "kernel": 3, "stride": 2},
                        ["channels_in", "channels_out", "kernel", "stride"]),
    "Maxout": (layers.Maxout, {"inputs": 3, "outputs": 2, "pieces": 2}, ["inputs", "outputs", "pieces"]),
    "MinibatchDiscrimination": (layers.MinibatchDiscrimination, {"inputs": 3, "kernels": 2, "dimensions": 2},
                                ["inputs", "kernels", "dimensions"]),
    "Embedding": (Embedding, {"count": 3, "size": 2}, ["count", "size"]),
    "LSTM": (layers.LSTM, {"inputs": 3, "size": 2}, ["inputs", "size"]),
    "BatchNorm": (BatchNorm, {"channels": 3}, ["channels"]),
    "LayerNorm": (layers.LayerNorm, {"channels": 3}, ["channels"]),
    "MaxPool2D": (layers.MaxPool2D, {"size": 2, "stride": 2}, ["size", "stride"]),
    "Unpool": (layers.Unpool, {"size": 2}, ["size"]),
    "UpSampling2D": (layers.UpSampling2D, {"factor": 2}, ["factor"]),
    "TimeEmbedding": (TimeEmbedding, {"size": 4}, ["size"]),
}
INPUTS = {"Conv2D": (2, 4, 4, 1), "Conv2DTranspose": (2, 4, 4, 1), "MaxPool2D": (2, 4, 4, 1),
          "UpSampling2D": (2, 4, 4, 1), "LSTM": (2, 5, 3), "TimeEmbedding": (2,)}


def made(name, **arguments):
    make, right, _ = SIZED[name]
    rng = {"rng": np.random.default_rng(0)} if "rng" in inspect.signature(make).parameters else {}
    return make(**right | arguments, **rng)


@pytest.mark.parametrize("name", SIZED)
def test_sizes_may_be_numpy_integers(name):
    _, right, _ = SIZED[name]
    plain, numpys = made(name), made(name, **{k: np.int64(v) for k, v in right.items()})
    for a, b in zip(plain.state_dict().values(), numpys.state_dict().values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert repr(plain) == repr(numpys)
    if name in ("Embedding", "Unpool"):
        return
    x = np.ones(INPUTS.get(name, (2, 3)), np.float32)
    y, z = plain(x), numpys(x)
    for a, b in zip(y, z, strict=True) if isinstance(y, tuple) else [(y, z)]:
        a, b = (a[0], b[0]) if isinstance(a, tuple) else (a, b)
        np.testing.assert_array_equal(getattr(a, "data", a), getattr(b, "data", b))


@pytest.mark.parametrize("name, size", [(name, size) for name in SIZED for size in SIZED[name][2]])
@pytest.mark.parametrize("value", [0, -1, 2.5, True, "3", None, np.nan, np.bool_(True)])
def test_wrong_sizes_are_named(name, size, value):
    if value is None and size == "stride":
        return  # None is valid: the stride is then the size of the window
    with pytest.raises(ValueError, match=f"^{name}: {size} is (a whole|an even) number ≥ ., got "):
        made(name, **{size: value})


@pytest.mark.parametrize("name", ["Dense", "SpectralDense", "Conv2D", "Conv2DTranspose", "Maxout", "Embedding", "LSTM",
                                  "MinibatchDiscrimination"])
@pytest.mark.parametrize("rng", [None, 0, "0"])
def test_a_wrong_generator_is_named(name, rng):
    make, right, _ = SIZED[name]
    with pytest.raises(TypeError, match=f"^{name}: rng must be a generator such as"):
        make(**right, rng=rng)
    with pytest.raises(TypeError, match="^Dropout: rng must be"):
        Dropout(0.5, rng=rng)


@pytest.mark.parametrize("make, words", [
    (lambda: Dropout(1.0, rng=RNG), r"^Dropout: rate is a share in \[0, 1\), got 1.0"),
    (lambda: Dropout("half", rng=RNG), "^Dropout: rate"), (lambda: BatchNorm(3, momentum=1.5), "^BatchNorm: momentum"),
    (lambda: BatchNorm(3, eps=-1), "^BatchNorm: eps"), (lambda: layers.LayerNorm(3, eps=np.nan), "^LayerNorm: eps"),
    (lambda: Conv2D(1, 1, (3, 3, 3), rng=RNG), "^Conv2D: kernel is a whole number ≥ 1 or a pair"),
    (lambda: layers.Reshape(2.5), "^Reshape: each length"), (lambda: layers.Reshape((2, 3)), "^Reshape: each length"),
    (lambda: layers.Reshape(0), "^Reshape: each length"), (lambda: Sequential(None), "^Sequential: each step is"),
    (lambda: Sequential([Dense(1, 1, rng=RNG)]), "^Sequential: each step is a layer or a function, got a list")])
def test_wrong_settings_are_named(make, words):
    with pytest.raises((ValueError, TypeError), match=words):
        make()


def test_numpy_numbers_as_settings_leave_float32_as_it_is():
    half, x = np.float64(0.5), np.random.default_rng(0).standard_normal((4, 3), dtype=np.float32)
    for layer in (BatchNorm(3, momentum=half, eps=half), BatchNorm(3, momentum=half, eps=half).eval(),
                  layers.LayerNorm(3, eps=half), Dropout(half, rng=np.random.default_rng(0)),
                  layers.Maxout(np.int64(3), np.int64(2), np.int64(2), rng=np.random.default_rng(0))):
        t = Tensor(x, requires_grad=True)
        y = layer(t)
        y.sum().backward()
        assert y.dtype == t.grad.dtype == np.float32
        assert {a.dtype for a in layer.state_dict().values()} <= {np.dtype(np.float32)}


def test_running_averages_keep_their_dtype():
    wide, narrow = np.random.default_rng(0).standard_normal((4, 3)), np.ones((2, 3), np.float32)
    layer = BatchNorm(3)
    layer(wide)
    np.testing.assert_allclose(layer.mean, 0.1 * wide.mean(0), rtol=1e-6)
    assert layer.mean.dtype == layer.var.dtype == layer.eval()(narrow).dtype == np.float32
    layer = BatchNorm(3).move(lambda a: a.astype(np.float64))
    layer(narrow)
    assert layer.mean.dtype == layer.var.dtype == np.float64
    spectral = layers.SpectralDense(3, 2, rng=np.random.default_rng(0))
    spectral.w.data = spectral.w.data.astype(np.float64)
    spectral(wide)
    assert spectral.u.dtype == spectral.v.dtype == np.float32


@pytest.mark.parametrize("name", ["Dense", "Conv2D", "Conv2DTranspose", "Maxout", "MinibatchDiscrimination", "LSTM",
                                  "BatchNorm", "LayerNorm", "MaxPool2D", "UpSampling2D", "TimeEmbedding"])
@pytest.mark.parametrize("x", [[[1.0, 2.0, 3.0]], None])
def test_a_layer_names_an_input_that_is_not_an_array(name, x):
    for layer in (made(name), made(name).eval()):
        with pytest.raises(TypeError, match=r"^\w+: \w+ must be an? "):
            layer(x)
