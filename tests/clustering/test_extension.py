"""Networks, losses and corpora of a user: the examples of the README, and errors."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import tensorflow as tf

import clustering
from clustering import data, evaluate, extension, separate
from clustering.export import export_network
from clustering.losses import objective
from clustering.models.network import network
from clustering.train import build
from common import training
from common.config import ConfigError
from common.corpora.track import CorpusError

README = (Path(clustering.__file__).parent / "README.md").read_text(encoding="utf-8")
MODULES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", README, re.DOTALL))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The modules of the README, and a corpus that one of them reads."""
    for name, source in MODULES.items():
        (tmp_path / f"{name}.py").write_text(source)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    draw = np.random.default_rng(0).standard_normal
    for split in ("train", "valid", "test"):
        (tmp_path / "sounds" / split).mkdir(parents=True)
        for number, name in ((n, name) for n in range(2) for name in ("low", "high")):
            wav = tmp_path / "sounds" / split / f"{number}_{name}.wav"
            soundfile.write(wav, 0.1 * draw(4000), 8000)
    return tmp_path / "sounds"


@pytest.fixture
def of_user(config, own):
    """A run in which everything is the user's."""
    loss = replace(
        config.loss,
        inference_kind="my_losses:roots",
        clustering_kind="my_losses:even",
    )
    kind, dataset = "my_network:Plain", "my_corpus:pairs"
    return replace(config, kind=kind, dataset=dataset, data_root=str(own), loss=loss)


def test_all_modules_of_the_page_are_run():
    assert set(MODULES) == {"my_network", "my_losses", "my_corpus"}


def test_a_users_network_loss_and_corpus_train_separate_and_are_scored(of_user):
    model = training.train(of_user, build)
    assert type(model.network).__name__ == "Plain"
    assert evaluate.main([of_user.output]) == 0
    separator = separate.load(of_user.output)
    mixture = np.random.default_rng(1).standard_normal([2, 999]).astype(np.float32)
    for estimate in separator(mixture).values():
        assert estimate.shape == (2, 999)
        assert np.abs(estimate).max() > 0


def test_formats_that_refuse_a_users_network_say_that_it_is_one(of_user):
    refused = export_network(network(of_user), of_user).refused
    reason = "kind=my_network:Plain is a custom network"
    assert refused == {"onnx": reason, "tflite": reason}


def test_losses_are_those_of_the_user(of_user):
    config = replace(of_user, kind="chimera")
    split = data.load(config).train
    assert split.names == ("low", "high")
    example = data.training_example(config, split)(tf.constant(0, tf.int64))
    prepared = objective.prepare(config, {k: v[tf.newaxis] for k, v in example.items()})
    outputs = network(config)(prepared.input)
    actual = objective.losses(config, prepared, outputs)
    usual = replace(config, loss=replace(config.loss, clustering_kind="classic"))
    other = objective.losses(usual, prepared, outputs)
    assert float(actual["clustering"][0]) != float(other["clustering"][0])
    estimates = outputs.mask * prepared.input[:, tf.newaxis]
    roots = sys.modules["my_losses"].roots(estimates, prepared.targets)
    np.testing.assert_allclose(actual["inference"], roots)


@pytest.mark.parametrize(
    ("path", "sentence"),
    [
        ("no_such_module:Net", "there is no module 'no_such_module'; install it"),
        ("math.inner:Net", "there is no module 'math.inner'"),
        ("math:Net", "math has no 'Net'"),
        ("math:floor", r"expected a subclass of tf_keras\.Model"),
        ("tf_keras:Model", "its attribute role is None; expected one of dpcl"),
    ],
)
def test_an_object_that_is_not_a_network_is_reported_in_one_sentence(
    config, path, sentence
):
    with pytest.raises(ConfigError, match=f"kind='{path}': .*{sentence}"):
        network(replace(config, kind=path))


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        (
            "import no_such_dependency",
            "ModuleNotFoundError in my_broken.py, line 1: .*",
        ),
        ("pass\nraise ValueError('mine')", "ValueError in my_broken.py, line 2: mine"),
        ("def f(:", r"SyntaxError: invalid syntax \(my_broken.py, line 1\)"),
    ],
)
def test_errors_within_a_users_module_name_its_line(
    tmp_path, monkeypatch, source, sentence
):
    (tmp_path / "my_broken.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    shown = "; SEPARATION_TRACEBACK=1 shows all calls"
    with pytest.raises(ConfigError, match=f"dataset='my_broken:f': {sentence}{shown}"):
        extension.function("dataset", "my_broken:f")


WRONG = """
import tensorflow as tf
from my_network import Plain

class Transposed(Plain):
    def call(self, magnitude, training=False):
        return tf.transpose(super().call(magnitude), [0, 2, 1, 3])

class NoSources(Plain):
    def call(self, magnitude, training=False):
        return super().call(magnitude)[:, 0]

class Points(Plain):
    role = "dpcl"

class OnlyInTraining(Plain):
    def call(self, magnitude, training=False):
        masks = super().call(magnitude)
        return masks[:, 0] if training else masks

class One(Plain):
    def call(self, magnitude, training=False):
        return super().call(magnitude)[:, :1]

class Control(Plain):
    def call(self, magnitude, training=False):
        return super().call(magnitude) if tf.reduce_sum(magnitude) > 1 else None

class Bare(Plain):
    def __init__(self):
        pass

def of_each_source(estimates, targets):
    return tf.reduce_mean(tf.square(estimates - targets), [-2, -1])

def one(estimates):
    return estimates
"""


@pytest.mark.parametrize(
    ("key", "name", "sentence"),
    [
        (
            "kind",
            "Transposed",
            r"its estimate has the shape .*; expected .* sources, frames ",
        ),
        ("kind", "NoSources", r"its estimate has the shape \(3, \d+, 33\) in a trial"),
        ("kind", "OnlyInTraining", r"its estimate has the shape \(3, \d+, 33\) in"),
        ("kind", "Points", r"its embedding has the shape .*; expected .* points \d+, "),
        ("kind", "Control", "OperatorNotAllowedInGraphError in my_wrong.py, line 27: "),
        ("kind", "Bare", r"TypeError: Bare.__init__\(\) takes 1 positional argument"),
        ("loss", "of_each_source", r"its loss has the shape \(3, 2\) in a trial"),
        ("loss", "one", r"TypeError: one\(\) takes 1 positional argument but 2 were"),
    ],
)
def test_wrong_code_of_a_user_is_reported_before_the_training(
    of_user, own, key, name, sentence, monkeypatch
):
    (own.parent / "my_wrong.py").write_text(WRONG)
    monkeypatch.delitem(sys.modules, "my_wrong", raising=False)
    path = f"my_wrong:{name}"
    value = path if key == "kind" else replace(of_user.loss, inference_kind=path)
    with pytest.raises(ConfigError, match=f"kind='{path}': {sentence}"):
        build(replace(of_user, **{key: value}), tf.distribute.get_strategy())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"name": "same"}, "returned 2 tracks named 'same'; expected another name"),
        (
            {"sources": {"low": "a.wav"}},
            "has the sound 'a.wav'; expected a pathlib.Path",
        ),
    ],
)
def test_wrong_tracks_of_a_user_are_reported(of_user, change, sentence, monkeypatch):
    pairs = extension.function("dataset", "my_corpus:pairs")

    def wrong(*arguments):
        return [replace(track, **change) for track in pairs(*arguments)]

    monkeypatch.setattr(sys.modules["my_corpus"], "pairs", wrong)
    with pytest.raises(CorpusError, match=f"my_corpus:pairs.* {sentence}"):
        data.load(of_user)


def test_an_object_that_is_not_a_function_is_reported_in_one_sentence():
    with pytest.raises(ConfigError, match=r"dataset='math:pi': 3\.14.* is no function"):
        extension.function("dataset", "math:pi")


@pytest.mark.parametrize(
    ("key", "value"),
    [("kind", "dpc"), ("dataset", "wham!"), ("kind", "a b:C"), ("dataset", "x:")],
)
def test_an_unknown_name_is_reported_in_one_sentence(config, key, value):
    words = f"{key}='{value}': expected one of .*, or your own as package"
    with pytest.raises(ConfigError, match=words):
        replace(config, **{key: value})


@pytest.mark.parametrize("key", ["clustering_kind", "inference_kind"])
def test_unknown_losses_are_reported_in_one_sentence(config, key):
    with pytest.raises(ConfigError, match=rf"loss\.{key}='l3': expected one of"):
        replace(config.loss, **{key: "l3"})


def test_a_users_corpus_needs_its_folder_and_tracks(of_user, own):
    with pytest.raises(CorpusError, match="my_corpus:pairs has no miniature"):
        data.load(replace(of_user, data_root=None))
    for file in (own / "valid").iterdir():
        file.unlink()
    with pytest.raises(CorpusError, match="my_corpus:pairs: no track of valid in"):
        data.load(of_user)
