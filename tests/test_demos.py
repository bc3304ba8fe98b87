"""Every demo runs from start to end on a few images, writes the files that it names, and resumes a finished run."""

import importlib.util
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from scratchnet import checkpoint, metrics, ops, optimizers
from scratchnet.demo import Frames, command, expect, file_name, fit_in_turns, of_seeds
from scratchnet.folder import FolderInUse, claim
from scratchnet.training import World

DEMOS = Path(__file__).parents[1] / "demos"
TINY = {  # instead of a scale of the demo
    "code_plane": (200, 100, 1), "conditional_gan": (200, 100, 1, 1, 2), "contractive_autoencoder": (200, 100, 1),
    "conv_autoencoder": (100, 50, 1),
    "conv_vae": (200, 150, 50, 1, 1, 1, 2), "cyclegan": (200, 100, 1, 1, 1, 200, 1, 2),
    "deep_autoencoder": (300, 100, 1, 1, 1, 1), "dense_vae": None, "denoising": (200, 100, 1, 500, 1),
    "document_retrieval": ((), 100, 200, 1), "gan_evaluation": (300, 320, 1, 2, 50),
    "gan_digits": (160, 150, 1, 1, 1, 1), "gan_losses": (1, 1, 1), "gan_points": (400, 2, 2),
    "gan_theory": (1, 1, 1, 2),
    "image_retrieval": (200, 100, 1), "image_to_image": (100, 50, 1, 2),
    "mode_collapse": (("ring of 8",), ("plain", "PacGAN2", "minibatch discrimination", "experience replay", "unrolled",
                                       "WGAN-GP"), 2, 2),
    "pretraining": (200, 100, [784, 30, 20, 10], 2, 1, 3, (20, 100),
                    SimpleNamespace(seeds=2, layer_epochs=1, epochs=1)),
    "sparse_autoencoder": (200, 100, 1)}
SLOW = {"conv_vae", "dense_vae"}  # .ci/run runs the first, and the second is much like it
JUDGE_NOTHING = {  # at --quick
    "conditional_gan", "cyclegan", "denoising", "gan_digits", "gan_points", "image_to_image", "mode_collapse"}


def load(name):
    spec = importlib.util.spec_from_file_location(f"demo_{name}", DEMOS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shrink(demo, name, scale, monkeypatch):
    """Let the demo run on a few images at this scale."""
    monkeypatch.setitem(demo.SCALES, scale, demo.Scale(*TINY[name]))


def test_no_demo_is_forgotten():
    assert {path.stem for path in DEMOS.glob("*.py")} == set(TINY)


@pytest.mark.parametrize("scale", ["quick", "default"])  # each ends with words of its own
@pytest.mark.parametrize("name", sorted(set(TINY) - SLOW))
def test_demo(name, scale, tmp_path, monkeypatch, capsys):
    demo = load(name)
    shrink(demo, name, scale, monkeypatch)
    command = [name, "--out", str(tmp_path), *(["--quick"] if scale == "quick" else [])]
    monkeypatch.setattr(sys, "argv", command)
    demo.main()
    first = capsys.readouterr().out
    if scale == "quick" and name in JUDGE_NOTHING:
        assert "This run is too short to show that" in first and "(expected: " not in first
    promised = re.findall(r"[\w*-]+\.(?:png|md|gif)", first.split("Picture", 1)[1])
    for pattern in promised:
        assert list(tmp_path.glob(pattern)), f"{pattern} is promised and not there"
    assert promised and {p.name for p in tmp_path.glob("*.png")} == {
        p.name for pattern in promised for p in tmp_path.glob(pattern) if p.suffix == ".png"}

    def refuse(self):
        raise AssertionError("a finished run is trained again")
    monkeypatch.setattr(optimizers.Optimizer, "step", refuse)
    monkeypatch.setattr(sys, "argv", [*command, "--resume"])
    demo.main()
    numbers = [np.array(re.findall(r"\d+\.\d+", text.split("| -")[1]), dtype=float)
               for text in (first, capsys.readouterr().out)]
    np.testing.assert_allclose(*numbers, rtol=1e-4)  # the tables are the same


@pytest.mark.parametrize("name", ["cyclegan", "denoising", "gan_digits", "gan_points", "mode_collapse",
                                  "pretraining"])  # games with memories, averages and batch norm; noise; stacks
def test_killed_in_a_later_training_and_resumed(name, tmp_path, monkeypatch):
    demo = load(name)
    shrink(demo, name, "quick", monkeypatch)

    def run(folder, *more, kill_after=None):
        done, step = [0], optimizers.Optimizer.step

        def counted(self):
            if done[0] == kill_after:
                raise KeyboardInterrupt
            done[0] += 1
            step(self)
        with monkeypatch.context() as patch:
            patch.setattr(optimizers.Optimizer, "step", counted)
            patch.setattr(sys, "argv", [name, "--quick", "--out", str(tmp_path / folder), *more])
            demo.main()
        return done[0]

    steps = run("whole")
    run("other", "--seed", "7")                              # an earlier run left its files in the folder
    with pytest.raises(KeyboardInterrupt):
        run("other", kill_after=2 * steps // 3)
    assert 0 < run("other", "--resume") < steps
    for path in (tmp_path / "whole").glob("*-checkpoint.safetensors"):
        ours, theirs = (checkpoint.load(tmp_path / folder / path.name)[0] for folder in ("whole", "other"))
        assert ours.keys() == theirs.keys()
        for key, array in ours.items():
            np.testing.assert_array_equal(theirs[key], array, err_msg=f"{path.name}: {key}")
    if name == "mode_collapse":  # another recipe
        monkeypatch.setitem(demo.MIXTURES, "ring of 8", demo.MIXTURES["ring of 8"]._replace(beta1=0.4))
        words = r"discriminator: the checkpoint has .*betas=\(0.5, 0.999\).*, this run .*betas=\(0.4, 0.999\)"
        with pytest.raises(checkpoint.CheckpointError, match=words):
            run("other", "--resume")
    if name == "denoising":  # (in other demos each seed has a checkpoint of its own)
        with pytest.raises(checkpoint.CheckpointError, match="seed: the checkpoint has 0, this run 7; start anew"):
            run("other", "--seed", "7", "--resume")


@pytest.mark.parametrize("name", sorted(TINY))
def test_every_demo_ends_expected_mistakes_with_one_line(name, tmp_path, monkeypatch, capsys):
    assert (DEMOS / f"{name}.py").read_text(encoding="utf-8").endswith(
        'if __name__ == "__main__":\n    command(main)\n')
    demo = load(name)
    (tmp_path / "file").touch()
    for mistake, words in ((["--seed", "-1"], "--seed: -1, expected a whole number of at least 0"),
                           (["--seed", "1.5"], "--seed"), (["--nonsense"], "unrecognized arguments: --nonsense"),
                           (["--out", str(tmp_path / "file")], "--out .*file: File exists"),
                           (["--out", str(tmp_path / "file" / "sub")], "--out .*sub: Not a directory")):
        refused(demo, name, mistake, words, monkeypatch, capsys)


def refused(demo, name, options, words, monkeypatch, capsys):
    """The command ends with one line on stderr, with these words in it, and exit code 2."""
    monkeypatch.setattr(sys, "argv", [f"demos/{name}.py", *options])
    with pytest.raises(SystemExit) as end:
        command(demo.main)
    error = capsys.readouterr().err
    assert end.value.code == 2 and re.fullmatch(f"{name}: error: .*{words}.*\n", error), error


def test_expected_mistakes_of_a_run(tmp_path, monkeypatch, capsys):
    demo = load("gan_points")
    shrink(demo, "gan_points", "quick", monkeypatch)
    path, usual = tmp_path / "out" / "gan-checkpoint.safetensors", ["--quick", "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", ["gan_points.py", *usual])
    command(demo.main)
    good = path.read_bytes()

    def is_refused(words, *options):
        before = path.read_bytes() if path.exists() else None
        refused(demo, "gan_points", [*usual, *options], words, monkeypatch, capsys)
        assert "--resume" not in options or path.read_bytes() == before
    is_refused("seed: the checkpoint has 0, this run 3; start anew", "--resume", "--seed", "3")
    is_refused("data: the checkpoint has ring, this run moons", "--resume", "--data", "moons")
    path.write_bytes(good[:3000])
    is_refused("gan-checkpoint.safetensors: truncated or damaged", "--resume")
    path.write_bytes(good[:-2000] + bytes([good[-2000] ^ 1]) + good[-1999:])
    is_refused("gan-checkpoint.safetensors: damaged: its content does not match its checksum", "--resume")
    is_refused("--data nothing.csv: ", "--data", "nothing.csv")
    (tmp_path / "bad.csv").write_bytes(b"\xff\x00\x01")
    is_refused("--data .*bad.csv: ", "--data", str(tmp_path / "bad.csv"))
    refused(load("document_retrieval"), "document_retrieval", [*usual, "--corpus", "nowhere"], "--corpus nowhere: ",
            monkeypatch, capsys)


@pytest.mark.parametrize("name", ["dense_vae", "conv_vae", "denoising"])
def test_a_damaged_file_of_mnist_is_one_line(name, tmp_path, monkeypatch, capsys):
    demo = load(name)
    for file in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte",
                 "t10k-labels-idx1-ubyte"):
        (tmp_path / file).write_bytes(b"damaged")
    monkeypatch.setenv("SCRATCHNET_DATA", str(tmp_path))
    refused(demo, name, ["--full", "--out", str(tmp_path / "out")], f"{tmp_path}/.*idx3-ubyte", monkeypatch, capsys)


@pytest.mark.parametrize(("error", "words"), [
    (OSError("no disk"), "no disk"), (OSError(), "OSError"), (FileNotFoundError(2, "No such file", "x.csv"),
                                                              "x.csv: No such file"),
    (FolderInUse("in use\nby me"), "in use by me"), (checkpoint.CheckpointError("c: damaged"), "c: damaged"),
    (SystemExit("--a: wrong"), "--a: wrong")])
def test_errors_in_words(error, words, monkeypatch, capsys):
    def main():
        raise error
    monkeypatch.setattr(sys, "argv", ["demos/x.py"])
    with pytest.raises(SystemExit) as end:
        command(main)
    assert end.value.code == 2 and capsys.readouterr().err == f"x: error: {words}\n"


@pytest.mark.parametrize("error", [ValueError("a bug"), KeyboardInterrupt(), SystemExit(143), SystemExit(None)])
def test_what_is_no_expected_mistake_stays_as_it_is(error):
    def main():
        raise error
    with pytest.raises(type(error)) as caught:
        command(main)
    assert caught.value is error


def test_a_second_process_is_refused(tmp_path):
    held = claim(tmp_path)
    second = subprocess.run([sys.executable, DEMOS / "gan_theory.py", "--quick", "--out", tmp_path], text=True,
                            capture_output=True, timeout=100, check=False)
    words = f"gan_theory: error: --out {tmp_path}: process {os.getpid()} on .* is at work in this folder; .*\n"
    assert second.returncode == 2 and second.stdout == "" and re.fullmatch(words, second.stderr)
    assert held.file and [path.name for path in tmp_path.iterdir()] == [".scratchnet.lock"]


def test_a_claim_leaves_files_of_other_tools_alone(tmp_path):
    (tmp_path / ".lock").write_text("of another tool")
    assert claim(tmp_path) and (tmp_path / ".lock").read_text() == "of another tool"


def test_a_console_without_the_letters(tmp_path):
    code = "from scratchnet.layers import Dense; import numpy as np; print(Dense(2, 3, rng=np.random.default_rng(0)))"
    for encoding in ("cp1252", "ascii", "utf-8"):
        for line in (["-c", code + "; print('−∂L/∂x ⊙ σ ✓')"], [DEMOS / "gan_points.py", "--help"]):
            done = subprocess.run([sys.executable, *line], env=os.environ | {"PYTHONIOENCODING": encoding},
                                  capture_output=True, timeout=100, check=False)
            assert done.returncode == 0 and not done.stderr, done.stderr
    assert subprocess.run([sys.executable, "-c", "import scratchnet; print('é∂')"], capture_output=True, timeout=100,
                          env=os.environ | {"PYTHONIOENCODING": "cp1252"}, check=True).stdout.strip() == b"\xe9\\u2202"


def test_frames_delete_what_they_wrote_and_nothing_else(tmp_path):
    folder, pixels = tmp_path / "frames", np.zeros((4, 5), np.uint8)
    folder.mkdir()
    mine = {"holiday.png": b"1", "000003.png": b"2", "7.png": b"3", "000003-2.png": b"4", "frames.json": b"5"}
    for name, content in mine.items():
        (folder / name).write_bytes(content)

    def are_as_they_were():
        assert {name: (folder / name).read_bytes() for name in mine} == mine
    frames = Frames(folder, resume=False)
    for step in (1, 3, 20):
        frames.add_pixels(step, pixels + step)
    frames.save_gif(tmp_path / "a.gif", "Samples")
    are_as_they_were()
    written = {"000001.png", "000003-3.png", "000020.png"}
    assert {path.name for path in folder.iterdir()} == {*mine, *written, ".written.json"}
    resumed = Frames(folder, resume=True)
    resumed.add_pixels(20, pixels + 20)
    resumed.add_pixels(30, pixels + 30)
    resumed.save_gif(tmp_path / "b.gif", "Samples")
    assert len(resumed.written) == 4 and {*mine, *written, "000030.png"} < {path.name for path in folder.iterdir()}
    (folder / "000030.png").write_bytes(b"painted over")         # now it is the user's
    (folder / "000001.png").unlink()
    Frames(folder, resume=False).add_pixels(30, pixels)
    are_as_they_were()
    assert (folder / "000030.png").read_bytes() == b"painted over"
    assert {path.name for path in folder.glob("*.png")} == {*mine, "000030.png", "000030-2.png"} - {"frames.json"}


@pytest.mark.parametrize("text", ["", "[" * 100_000, "[]", "null", '{"a": 1}', '{"1": ["../../mine.png", 1]}',
                                  '{"1": [3, "x"]}', b"\xff"])
def test_frames_with_somebody_elses_list(text, tmp_path):
    folder = tmp_path / "a" / "frames"
    folder.mkdir(parents=True)
    (tmp_path / "mine.png").write_bytes(b"mine")
    (folder / ".written.json").write_bytes(text if isinstance(text, bytes) else text.encode())
    frames = Frames(folder, resume=False)
    frames.add_pixels(1, np.zeros((4, 5), np.uint8))
    frames.save_gif(tmp_path / "a.gif", "Samples")
    assert (tmp_path / "mine.png").read_bytes() == b"mine"


def test_a_start_without_resume_keeps_all_checkpoints_and_logs(tmp_path, monkeypatch):
    demo = load("gan_points")
    shrink(demo, "gan_points", "quick", monkeypatch)
    found = []
    for seed in range(3):
        monkeypatch.setattr(sys, "argv", ["", "--quick", "--seed", str(seed), "--out", str(tmp_path)])
        demo.main()
        found.append([(tmp_path / f"gan-{name}").read_bytes() for name in ("checkpoint.safetensors", "log.csv")])
    for mark, old in zip((".previous", ".previous-2"), found, strict=False):
        kept = [tmp_path / f"gan-checkpoint{mark}.safetensors", tmp_path / f"gan-log{mark}.csv"]
        assert [path.read_bytes() for path in kept] == old


def test_without_scikit_learn_no_layout_is_promised(tmp_path, monkeypatch, capsys):
    demo = load("document_retrieval")
    shrink(demo, "document_retrieval", "quick", monkeypatch)
    monkeypatch.setitem(sys.modules, "sklearn.manifold", None)
    monkeypatch.setattr(sys, "argv", ["", "--quick", "--out", str(tmp_path)])
    demo.main()
    said = capsys.readouterr().out
    assert "needs scikit-learn" in said and "map.png" not in said and not list(tmp_path.glob("*.png"))


@pytest.mark.parametrize(("value", "low", "high", "said"), [
    (2.0, None, 2.0, "at most 2.0, reached"), (2.1, None, 2.0, "at most 2.0, NOT REACHED"),
    (2.0, 2.0, None, "at least 2.0, reached"), (1.9, 2.0, None, "at least 2.0, NOT REACHED"),
    (0.3, 0.0, 0.2, "0.0 to 0.2, NOT REACHED"), (float("nan"), None, 1, "at most 1, NOT REACHED")])
def test_expectations(value, low, high, said, capsys):
    expect("the error", value, low, high, " %")
    assert capsys.readouterr().out == f"the error: {value:.4g} % (expected: {said})\n"


def test_mode_collapse_reports_what_is_not_reached(capsys, monkeypatch, tmp_path):
    demo = load("mode_collapse")
    found = {(mixture, remedy): [(8 - (remedy == "plain"), 0.96), (8, 0.98)] for mixture in demo.MIXTURES
             for remedy in demo.REMEDIES}
    found["ring of 8", "unrolled"] = [(7, 0.9), (8, 0.9)]
    demo.report(SimpleNamespace(steps=1000, scale="default"), found, list(demo.MIXTURES), list(demo.REMEDIES))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == (5 + 2) + (5 + 1)
    assert [line for line in lines if "NOT REACHED" in line] == [
        "ring of 8: modes covered by unrolled: 7.5 (expected: at least 7.6, NOT REACHED)",
        "grid of 25: modes covered by PacGAN2, the best: 8 (expected: at least 24, NOT REACHED)"]
    demo.report(SimpleNamespace(steps=1000, scale="default"), dict.fromkeys(found, [(8, 0.98)]), ["ring of 8"],
                list(demo.REMEDIES))
    assert capsys.readouterr().out.count("8 (expected: at least 8.1, NOT REACHED)") == 5  # no more than plain
    monkeypatch.setattr(sys, "argv", ["", "--seeds", "2", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="--seeds, --remedies and --lr belong to --steps, which is missing"):
        demo.main()
    monkeypatch.setattr(sys, "argv", ["", "--steps", "1500", "--out", str(tmp_path)])
    with pytest.raises(SystemExit, match="--steps 1500 --seeds 3: expected up to 1000 steps, or a mult"):
        demo.main()


def test_real_points_are_on_every_mode_of_a_mixture():
    demo = load("mode_collapse")
    for draw, centers, std, scale, _ in demo.MIXTURES.values():
        x, _ = draw(20_000, np.random.default_rng(0))
        modes, quality = metrics.modes_covered(x, centers, std)
        assert modes == len(centers) and quality == pytest.approx(1 - np.exp(-4.5), abs=4e-3)  # P(distance < 3 std)
        assert np.sqrt(np.square(x).mean()) / scale == pytest.approx(1, abs=0.02)


def test_mode_collapse_gives_each_player_its_rate():
    demo = load("mode_collapse")

    def of_D_and_G(mixture, remedy, steps=10, scale="default"):
        args = SimpleNamespace(device="cpu", scale=scale, steps=steps, lr=3e-3)
        gan = demo.build(remedy, np.random.default_rng(0))
        D, G = demo.optimizers(args, gan, remedy, demo.MIXTURES[mixture].beta1, 10)
        assert D.parameters == gan.discriminator.parameters() and G.parameters == gan.generator.parameters()
        G.step_count = 5
        return [(*optimizer.betas, round(optimizer.current_lr, 9)) for optimizer in (D, G)]
    for remedy in ("plain", "unrolled"):
        assert of_D_and_G("ring of 8", remedy) == [(0.5, 0.999, 3e-4), (0.5, 0.999, 1.5e-3)]  # G is half way
        assert of_D_and_G("grid of 25", remedy) == [(0.8, 0.999, 3e-4), (0.8, 0.999, 1.5e-3)]
    assert of_D_and_G("ring of 8", "WGAN-GP") == [(0.0, 0.9, 3e-3), (0.0, 0.9, 1.5e-3)]
    assert of_D_and_G("ring of 8", "PacGAN2", None, "full") == 2 * [(0.8, 0.999, 1e-4)]       # as published
    assert of_D_and_G("ring of 8", "WGAN-GP", None, "full") == 2 * [(0.0, 0.9, 1e-4)]


def test_unrolled_generator_minimises_what_the_foreseen_discriminator_will_lose():
    demo, rng = load("mode_collapse"), np.random.default_rng(0)
    gan, real = demo.build("unrolled", rng), rng.standard_normal((10, 2)).astype(np.float32)
    of_discriminator, of_generator = demo.play("unrolled", gan, None, rng, SimpleNamespace(current_lr=0.0))
    z = gan.noise(10, np.random.default_rng(7), real)
    gan.noise = lambda *_: z
    np.testing.assert_allclose(of_generator(real).data, -of_discriminator(real).data, rtol=1e-5)  # D has not moved
    *_, ahead = demo.play("unrolled", gan, None, rng, SimpleNamespace(current_lr=1e-2))
    assert ahead(real).data > of_generator(real).data                              # D will learn
    grads = [p.grad for p in gan.discriminator.parameters()]
    ahead(real).backward()
    assert [p.grad for p in gan.discriminator.parameters()] == grads == [None] * len(grads)


@pytest.mark.parametrize("nets", ["dense", "DCGAN"])
def test_effects_of_the_options(nets, tmp_path, monkeypatch, capsys):
    demo = load("gan_digits")
    shrink(demo, "gan_digits", "default", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["", "--effects", nets, "--out", str(tmp_path)])
    demo.main()
    said = capsys.readouterr().out
    assert demo.EFFECTS_LESSON[nets] in said and f"Smallest Fréchet distance of the {nets} nets" in said
    logs = {f"{nets.lower()}-{file_name(way)}-{seed}-log.csv" for way in demo.EFFECTS for seed in range(3)}
    assert {path.name for path in tmp_path.glob("*-log.csv")} == logs | {"classifier-log.csv"}


def test_arrows_lead_where_a_step_of_the_nets_would():
    demo, std = load("gan_points"), np.array([2.0, 0.1])
    points = np.random.default_rng(0).normal([5, -3], std, (10_000, 2))
    gan = demo.GAN(None, lambda s: s @ np.array([[1.0], [1.0]]), 2, "wasserstein")  # pulls s along (1, 1)
    gan.discriminator.frozen = nullcontext
    data = demo.Plane("ten thousand points", points, None)
    arrows = demo.pulls(gan, data, data.scaled(points[:7]).astype(np.float64))
    np.testing.assert_allclose(arrows, np.tile(points.std(axis=0), (7, 1)), rtol=1e-6)


def test_the_game_written_out_is_the_one_of_fit_in_turns(tmp_path):
    demo, adam = load("gan_points"), {"lr": 1e-3, "betas": (0.5, 0.999)}
    args = SimpleNamespace(out=tmp_path, resume=False, device="cpu", seed=0, scale="quick", data="ring", world=World(),
                           detect_anomaly=False)
    scale = demo.Scale(points=300, epochs=2, frames=1)
    data, gans = demo.load("ring", scale.points, np.random.default_rng(0)), []
    for train in (demo.train, None):
        rng = np.random.default_rng(1)
        gan = demo.GAN(demo.dense_net([3, 8, 2], ops.relu, rng=rng), demo.dense_net([2, 8, 1], ops.relu, rng=rng), 3)
        if train:
            train(args, "gan", gan, data, scale, rng)
        else:
            fit_in_turns(args, "turns", gan, {
                "D": (optimizers.Adam(gan.discriminator.parameters(), **adam),
                      lambda x, gan=gan, rng=rng: gan.discriminator_loss(x, gan.generate(gan.noise(len(x), rng, x)))),
                "G": (optimizers.Adam(gan.generator.parameters(), **adam),
                      lambda x, gan=gan, rng=rng: gan.generator_loss(gan.noise(len(x), rng, x)))},
                data.scaled(data.points), rng=rng, epochs=scale.epochs, size=demo.SIZE)
        gans.append(gan)
    for ours, theirs in zip(*(gan.parameters() for gan in gans), strict=True):
        np.testing.assert_array_equal(ours.data, theirs.data)


def test_a_cloud_over_the_plane_touches_every_mode_with_few_points():
    demo = load("gan_points")
    ring = demo.load("ring", 1_000, np.random.default_rng(0))
    cloud = np.random.default_rng(0).normal(0, 1.5, (2_500, 2))
    assert re.fullmatch(r"[5-9] % of points on a mode, 8 of 8 modes touched", ring.on_modes(cloud))
    assert ring.on_modes(ring.modes[0][:3]) == "100 % of points on a mode, 3 of 8 modes touched"
    assert demo.load("moons", 1_000, np.random.default_rng(0)).on_modes(cloud) == ""


@pytest.mark.parametrize(("seeds", "words"), [(range(1), "seed 0"), (range(20, 24), "mean of seeds 20 to 23")])
def test_seeds_in_words(seeds, words):
    assert of_seeds(seeds) == words


def test_sharpness_of_an_edge_is_one_over_its_width():
    sharpness = load("image_to_image").sharpness
    edge = [np.clip(np.arange(-10, 20) / k, 0, 1) for k in (1, 2, 5)]              # from 0 to 1 in k steps
    one, two, five = (sharpness(np.tile(x, (3, 4, 1))[..., None]) for x in edge)
    np.testing.assert_allclose([one / two, one / five], [2, 5], rtol=1e-12)
    assert sharpness(np.ones((1, 4, 5, 1))) == 0


def test_error_to_the_partner_at_the_best_shift():
    demo, x = load("cyclegan"), np.zeros((2, 28, 28, 1))
    x[:, 10:18, 10:14] = 1.0
    as_it_is, shifted = demo.errors(np.roll(x, (2, -3), (1, 2)), x)
    assert as_it_is == 2 * (32 - 6) and shifted == 0                               # 6 × 1 of 8 × 4 pixels overlap
    assert demo.errors(np.roll(x, 4, 1), x)[1] == 2 * 4                            # one pixel is left


def test_distances_on_a_line():
    demo = load("gan_losses")
    shift = demo.GAN(demo.Sequential(demo.Dense(1, 1, rng=np.random.default_rng(0))), None, 1)
    weight, bias = shift.generator.parameters()
    weight.data[...], bias.data[...] = 0.0, 7.0                                    # all mass at 7, data have mean -0.18
    distance, js = demo.distances(shift.generator)
    np.testing.assert_allclose(distance, 7 + 0.6 * 1.1 - 0.4 * 1.2, atol=0.02)
    np.testing.assert_allclose(js, np.log(2), rtol=1e-6)


def test_points_of_ones_own(tmp_path, monkeypatch, capsys):
    demo = load("gan_points")
    shrink(demo, "gan_points", "quick", monkeypatch)
    points = np.random.default_rng(0).normal([5, -3], [2, 0.1], (150, 2))
    np.savetxt(tmp_path / "mine.csv", points, delimiter=",", header="length,width", comments="")

    def run(name):
        monkeypatch.setattr(sys, "argv", ["", "--quick", "--data", str(tmp_path / name), "--out", str(tmp_path)])
        demo.main()
    run("mine.csv")
    assert "energy distance" in capsys.readouterr().out and (tmp_path / "training.gif").exists()
    np.savetxt(tmp_path / "few.csv", points[:9], delimiter=",")
    with pytest.raises(SystemExit, match="few.csv: holds 9 points, expected at least 100, no column constant"):
        run("few.csv")
    np.savetxt(tmp_path / "line.csv", np.full((200, 2), [1, 2]), delimiter=",")
    with pytest.raises(SystemExit, match="line.csv: holds 200 points, expected at least 100, no column constant"):
        run("line.csv")
    (tmp_path / "binary.csv").write_bytes(b"\xff\x00\x01")
    with pytest.raises(SystemExit, match=r"binary.csv: read_points: .*binary.csv is not UTF-8 text"):
        run("binary.csv")
    plane = demo.Plane("mine", np.random.default_rng(0).normal([2000, 0], [10, 1], (500, 2)), None)
    np.testing.assert_allclose(plane.scaled(plane.points).std(axis=0), 1, rtol=1e-3)
    np.testing.assert_allclose(plane.unscaled(plane.scaled(plane.points)), plane.points, rtol=1e-3, atol=1e-3)
    with pytest.raises(SystemExit, match="nothing.csv: there is no file of this name, expected ring, grid, moons"):
        run("nothing.csv")


def test_a_transposed_convolution_is_a_convolution():
    demo, rng = load("conv_autoencoder"), np.random.default_rng(0)
    for stride, (k, m) in ((1, (3, 3)), (2, (3, 2)), (3, (2, 3)), (2, (1, 1))):
        y, w = rng.standard_normal((2, 4, 5, 3)), rng.standard_normal((k, m, 2, 3))
        expected = ops.conv2d_transpose(y, w, stride=stride, padding="valid")
        np.testing.assert_allclose(demo.as_convolution(y, w, stride), expected, atol=1e-12)
    w = rng.standard_normal((2, 2, 1, 1))
    C = demo.matrix(lambda x: ops.conv2d(x, w, padding="valid"), 4)
    T = demo.matrix(lambda y: ops.conv2d_transpose(y, w, padding="valid"), 3)
    np.testing.assert_allclose(T, C.T, atol=1e-12)


def test_the_score_that_the_denoiser_is_measured_by():
    demo, x = load("denoising"), np.random.default_rng(0).uniform(-2, 2, (20, 2))
    _, score = demo.smoothed(x)
    for k, e in enumerate(1e-6 * np.eye(2)):
        slope = (np.log(demo.smoothed(x + e)[0]) - np.log(demo.smoothed(x - e)[0])) / 2e-6
        np.testing.assert_allclose(score[:, k], slope, rtol=1e-6, atol=1e-7)
    line = np.linspace(-4, 4, 201)
    grid = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    assert demo.smoothed(grid)[0].sum() * (line[1] - line[0])**2 == pytest.approx(1, abs=1e-6)
    assert (demo.smoothed(grid)[0] * (grid**2).sum(axis=1)).sum() * (line[1] - line[0])**2 == pytest.approx(
        1 + 2 * (demo.STD**2 + demo.SIGMA**2), rel=1e-3)  # E|x|² of the ring with both noises


def test_labelled_images_are_balanced():
    demo, labels = load("pretraining"), np.random.default_rng(0).integers(0, 10, 500)
    some = demo.balanced(labels, 100, np.random.default_rng(1))
    assert len(set(some)) == 100 and (np.bincount(labels[some]) == 10).all()
    assert sorted(demo.balanced(labels, 500, np.random.default_rng(1))) == list(range(500))
    for count in (105, 490):
        with pytest.raises(ValueError, match=f"^balanced: {count} labels, expected a multiple of 10"):
            demo.balanced(labels, count, np.random.default_rng(1))


def test_grid_over_the_used_region():
    demo = load("code_plane")
    z = np.random.default_rng(0).uniform([0, 10], [1, 30], (10_000, 2))
    np.testing.assert_allclose(demo.rectangle(z), [0.01, 0.99, 10.2, 29.8], atol=0.1)
    points, columns, rows = demo.points_of((0, 1, 10, 30), 3)
    np.testing.assert_array_equal(points[:4], [[0, 10], [0.5, 10], [1, 10], [0, 20]])
    np.testing.assert_array_equal(columns, [0, 0.5, 1])
    np.testing.assert_array_equal(rows, [10, 20, 30])


def test_documents_of_ones_own(tmp_path, monkeypatch, capsys):
    for label, word in (("fruit", "apple pear plum"), ("tools", "hammer saw pliers")):
        (tmp_path / "texts" / label).mkdir(parents=True)
        for k in range(12):
            text = f"{word} {word.split()[k % 3]} number{'abcd'[k % 4] * 3}"
            (tmp_path / "texts" / label / f"{k}.txt").write_text(text)
    demo = load("document_retrieval")
    monkeypatch.setattr(sys, "argv", ["", "--quick", "--corpus", str(tmp_path / "texts"), "--query", "a red Plum",
                                      "--out", str(tmp_path / "out")])
    demo.main()
    said = capsys.readouterr().out
    assert "24 documents of 2 labels" in said and "known words: plum" in said
    assert re.search(r"by tf-idf:\n    fruit: ", said)
    monkeypatch.setattr(sys, "argv", ["", "--quick", "--resume", "--corpus", str(tmp_path / "texts"), "--query", "xyz",
                                      "--out", str(tmp_path / "out")])
    demo.main()
    assert "known words: none" in capsys.readouterr().out
    (tmp_path / "texts" / "fruit" / "0.txt").unlink()
    for label in ("fruit", "tools"):
        for k in range(3, 12):
            (tmp_path / "texts" / label / f"{k}.txt").unlink()
    with pytest.raises(SystemExit, match="texts: holds 5 documents, expected at least 20"):
        demo.main()
