"""Experiments of cookiecutter-nussl and plain keys become configurations, or errors."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from clustering import evaluate, separate, weights
from clustering import train as train_command
from clustering.config import ClusteringConfig
from clustering.foreign import cookiecutter, experiment_file
from clustering.models.network import network
from clustering.presets import PRESETS
from common import audio
from common import config as configuration
from common.config import ConfigError
from common.training.checkpoint import CheckpointError
from common.weights import bundled, torch_file

REPOSITORY = Path(__file__).parents[3]
MUSIC = """
algorithm_config:
  class: DeepClustering
  args:
    clustering_options: {posterior_alpha: 5.0}
    enhancement_amount: 0.0
    mask_type: soft
    model_path: weights/best.model.pth
    num_sources: 2
    percentile: 95
dataset_config:
  cache: somewhere
  excerpt_selection_strategy: random
  format: rnn
  fraction_of_dataset: 1.0
  group_sources: [[drums, bass, other]]
  hop_length: 128
  ignore_sources: []
  length: 400
  n_fft: 512
  num_channels: 1
  output_type: psa
  sample_rate: 16000
  source_labels: []
  use_librosa_stft: false
  weight_threshold: -80
  weight_type: [magnitude]
datasets:
  test: {class: Scaper, folder: test_set/}
  train: {class: Scaper, folder: /data/music/train/}
  val: {class: Scaper, folder: /data/music/val/}
info: {output_folder: output, num_gpus: 1, seed: 7}
model_config:
  class: SeparationModel
  connections:
  - !!python/tuple [mel_projection, [log_spectrogram]]
  - !!python/tuple [normalization, [mel_projection]]
  - !!python/tuple [recurrent_stack, [normalization]]
  - !!python/tuple [embedding, [recurrent_stack]]
  modules:
    log_spectrogram: {input_shape: [-1, -1, 257]}
    mel_projection:
      class: MelProjection
      args: {num_frequencies: 257, num_mels: -1, clamp: false}
    normalization: {class: InstanceNorm, args: {use_instance_norm: true}}
    recurrent_stack:
      class: RecurrentStack
      args:
        bidirectional: true
        dropout: 0.3
        hidden_size: 300
        num_features: 257
        num_layers: 3
        rnn_type: lstm
    embedding:
      class: Embedding
      args:
        activation: [tanh]
        embedding_size: 20
        hidden_size: 600
        num_channels: 1
        num_features: 257
  output: [embedding]
test_config: {num_workers: 10, testers: {ScaleInvariantSDR: {scaling: true}}}
train_config:
  batch_size: 40
  class: Trainer
  curriculum_learning: [{args: [400], command: set_current_length, num_epoch: 0}]
  device: cuda
  initial_length: 400
  learning_rate: 0.0002
  learning_rate_decay: 0.5
  loss_function:
  - !!python/tuple [dpcl, embedding, 1.0]
  num_epochs: 90
  num_workers: 20
  optimizer: adam
  patience: 5
  weight_decay: 0.0
"""


@pytest.fixture
def music(tmp_path):
    """The values of an experiment, and the file that they shall be in."""
    file = tmp_path / "config.yml"
    file.write_text(MUSIC, encoding="utf-8")
    return experiment_file.read_yaml(file), file


def put(values, key, value):
    """Set a value by its dotted key; None takes it away."""
    *above, last = key.split(".")
    for name in above:
        values = values[name]
    if value is None:
        del values[last]
    else:
        values[last] = value


def test_an_experiment_on_music_is_translated(music, capsys):
    _, file = music
    (file.parent / "test_set").mkdir()
    read = experiment_file.read(file)
    config = read.config
    assert (config.kind, config.sample_rate, config.stft.bins) == ("dpcl", 16000, 257)
    assert (config.window_samples, config.hop_samples) == (512, 128)
    assert config.segment_seconds == pytest.approx(400 * 128 / 16000)
    assert (config.batch_size, config.lr, config.optimizer) == (40, 2e-4, "adam")
    assert (config.lr_decay_gamma, config.lr_decay_patience) == (0.5, 5)
    assert (config.train.epochs, config.patience, config.train.seed) == (90, 90, 7)
    assert config.train.steps_per_epoch == 0
    assert (config.clip_norm, config.clip_percentile) == (0.0, None)
    assert (config.loss.clustering, config.loss.clustering_kind) == (1.0, "batch")
    assert (config.loss.target, config.loss.weights) == ("psa", ("magnitude",))
    assert config.loss.threshold_db == -80.0
    spectral = config.spectral
    features = spectral.features
    assert (features.bins, features.norm, features.level) == (
        257,
        "instance",
        "librosa",
    )
    assert (spectral.recurrent.hidden, spectral.recurrent.layers) == (300, 3)
    assert (spectral.recurrent.bidirectional, spectral.recurrent.dropout) == (True, 0.3)
    assert (spectral.embedding, spectral.embedding_activation) == (20, ("tanh",))
    cluster = config.cluster
    assert (cluster.sources, cluster.percentile, cluster.beta) == (2, 95.0, 5.0)
    assert (cluster.mask, cluster.weighted, cluster.order_by_size) == (
        "posterior",
        True,
        True,
    )
    assert config.sources == ("*", "drums+bass+other")
    assert config.folders == ("train=/data/music/train", "valid=/data/music/val")
    test = read.data["test"]
    assert test.split == "test"
    assert test.config.folders == (f"test={file.parent / 'test_set'}",)
    assert [data.config.dataset for data in read.data.values()] == ["scaper"] * 3
    assert read.output == "output"
    assert experiment_file.model(read) == str(file.parent / "weights/best.model.pth")
    assert capsys.readouterr().out == (
        f"{file}: without meaning here: dataset_config.cache, info.num_gpus, "
        "test_config, train_config.device, train_config.num_workers\n"
    )


def test_the_experiment_on_music_is_that_of_the_preset(music):
    values, file = music
    put(values, "info.seed", 0)
    put(values, "train_config.num_epochs", 100)
    put(values, "model_config.modules.recurrent_stack.args.num_layers", 4)
    read, preset = experiment_file.translate(values, file).config, PRESETS["seed001"]
    names = ("stft", "cluster", "segment_seconds", "batch_size", "lr", "weight_decay")
    for name in (*names, "optimizer", "lr_decay_patience", "lr_decay_gamma"):
        assert getattr(read, name) == getattr(preset, name), name
    assert read.spectral.features == preset.spectral.features
    assert read.spectral.recurrent == preset.spectral.recurrent
    assert read.spectral.embedding_activation == preset.spectral.embedding_activation
    for name in ("clustering", "clustering_kind", "target", "weights"):
        assert getattr(read.loss, name) == getattr(preset.loss, name), name


def test_masks_are_translated(music):
    values, file = music
    modules = values["model_config"]["modules"]
    modules["masks"] = modules.pop("embedding")
    modules["masks"]["args"] |= {"embedding_size": 3, "activation": ["softmax"]}
    modules["estimates"] = {"class": "Mask"}
    values["model_config"]["connections"][3:] = [
        ("masks", ["recurrent_stack"]),
        ("estimates", ["masks", "magnitude_spectrogram"]),
    ]
    values["train_config"]["loss_function"] = [("pit:mse", "estimates", 0.5)]
    values["algorithm_config"] = {
        "class": "DeepMaskEstimation",
        "args": {"model_path": "m"},
    }
    config = experiment_file.translate(values, file).config
    assert config.kind == "mask_inference"
    assert (config.spectral.sources, config.spectral.mask_activation) == (
        3,
        ("softmax",),
    )
    assert (config.loss.inference, config.loss.inference_kind) == (0.5, "mse")


def test_binary_masks_of_a_mask_network_are_refused(music):
    values, file = music
    values["algorithm_config"] = {
        "class": "DeepMaskEstimation",
        "args": {"model_path": "m", "mask_type": "binary"},
    }
    with pytest.raises(ConfigError, match=r"mask_type is 'binary'; only 'soft' has"):
        experiment_file.translate(values, file)


def test_without_a_percentile_all_points_are_clustered(music):
    values, file = music
    put(values, "algorithm_config.args.percentile", None)
    read = experiment_file.translate(values, file)
    assert read.config.cluster.percentile == 0.0
    assert read.clustering["cluster.percentile"] == 0.0


def test_a_curriculum_is_translated(music):
    values, file = music
    values["train_config"]["initial_length"] = 100
    step = {"command": "set_current_length", "args": [800], "num_epoch": 5}
    values["train_config"]["curriculum_learning"] = [step]
    config = experiment_file.translate(values, file).config
    assert config.curriculum == ((0, 0.8), (5, 3.2))


@pytest.mark.parametrize(
    ("labels", "ignored", "groups", "sources"),
    [
        ([], [], [], ()),
        (["a", "b", "c"], [], [["b", "c"]], ("a", "b+c")),
        (["a", "b", "c"], ["c"], [], ("a", "b")),
        (["a", "b+c"], [], [["b", "c"]], ("a", "b+c")),
        ([], [], [["a"], ["b", "c"]], ("a", "b+c")),
    ],
)
def test_labels_and_groups_name_the_sources(music, labels, ignored, groups, sources):
    values, _ = music
    values["dataset_config"] |= {
        "source_labels": labels,
        "ignore_sources": ignored,
        "group_sources": groups,
    }
    assert cookiecutter.sources(values) == sources


@pytest.mark.parametrize(
    ("mix", "dataset", "root"),
    [
        ("mix_both", "wham", "/data/wham"),
        ("mix", "wsj0_2mix", "/data/wham"),
    ],
)
def test_folders_of_speakers_are_splits_of_one_corpus(music, mix, dataset, root):
    values, file = music
    above = "2speakers/" if mix == "mix" else ""
    for key, split in {"train": "tr", "val": "cv", "test": "tt"}.items():
        folder = f"/data/wham/{above}wav8k/max/{split}"
        values["datasets"][key] = {"class": "MixSourceFolder", "folder": folder}
    values["dataset_config"] |= {
        "mix_folder": mix,
        "source_folders": ["s1", "s2"],
        "group_sources": [],
    }
    read = experiment_file.translate(values, file)
    configs = [read.config, *(data.config for data in read.data.values())]
    assert {(c.dataset, c.data_root, c.length) for c in configs} == {
        (dataset, root, "max")
    }
    assert [data.split for data in read.data.values()] == ["test", "train", "valid"]
    if dataset == "wham":
        assert read.config.task == "mix_both"


def test_variables_are_replaced_where_they_are_used(music, monkeypatch):
    values, file = music
    for name in ("DATA_DIRECTORY", "ARTIFACTS_DIRECTORY", "CACHE_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    put(values, "datasets.train.folder", "${DATA_DIRECTORY}/train")
    put(values, "algorithm_config.args.model_path", "${ARTIFACTS_DIRECTORY}/a.pth")
    put(values, "dataset_config.cache", "${CACHE_DIRECTORY}/cache")
    with pytest.raises(ConfigError, match=r"datasets\.train\.folder .* DATA_DIRECTORY"):
        experiment_file.translate(values, file)
    monkeypatch.setenv("DATA_DIRECTORY", "/disk")
    read = experiment_file.translate(values, file)
    assert "train=/disk/train" in read.config.folders
    with pytest.raises(ConfigError, match="no ARTIFACTS_DIRECTORY; set it"):
        experiment_file.model(read)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("train_config.learning_rat", 1, "did you mean 'train_config.learning_rate'"),
        ("extra", 1, "unknown configuration key 'extra'"),
        ("train_config.learning_rate", "fast", "lr='fast': expected a number"),
        ("dataset_config.num_channels", 2, "num_channels is 2; only 1 has"),
        ("dataset_config.fraction_of_dataset", 0.5, "is 0.5; only 1.0 has"),
        ("algorithm_config.args.enhancement_amount", 0.3, "is 0.3; only 0.0 has"),
        ("algorithm_config.class", "Melodia", "'DeepClustering' or"),
        ("dataset_config.output_type", "msa", "is 'msa'; only 'psa' has"),
        ("dataset_config.hop_length", 0, "whole numbers above 0"),
        ("dataset_config.hop_length", None, "expected hop_length and sample_rate"),
        (
            "train_config.curriculum_learning",
            [{"command": "unfreeze", "args": [1], "num_epoch": 0}],
            "only steps such as",
        ),
        ("train_config.loss_function", [("kl", "x", 1.0)], "expected a loss"),
        ("train_config.loss_function", [("dpcl", "x")], "expected a loss"),
        ("dataset_config.ignore_sources", ["bass"], "source_labels is empty"),
        ("algorithm_config.args.num_sources", 4, "leaves 3 sources without a name"),
        ("datasets.test.class", "Slakh2100", "datasets.test.class is 'Slakh2100'"),
        ("datasets.test.folders", "a", r"did you mean 'datasets\.test\.folder'"),
        ("datasets.test.folder", None, "datasets.test.folder is missing"),
        ("algorithm_config.args.num_sources", "two", "expected a whole number"),
        ("algorithm_config.args.model_path", 3, "model_path is 3; expected a string"),
        ("dataset_config.group_sources", 3, "expected a list of lists of names"),
        ("dataset_config.group_sources", ["drums"], "expected a list of lists"),
        ("dataset_config.source_labels", "drums", "expected a list of names"),
        ("dataset_config.n_fft", "wide", "n_fft is 'wide'; expected a whole number"),
        ("train_config.loss_function", 3, "expected a list of losses"),
        ("train_config.loss_function", [["dpcl"]], "expected a loss"),
        ("info", 3, "info is 3; expected keys below it"),
        ("datasets", 3, "datasets is 3; expected keys below it"),
        ("datasets.test", "a", "expected a class and a folder"),
        ("datasets.val.class", "wham", "of different corpora"),
        ("model_config.modules.recurrent_stack.args.rnn_type", "rnn", "'rnn'"),
        ("model_config.modules.recurrent_stack.args.wide", 1, "args.wide"),
        ("model_config.modules.recurrent_stack.args.hidden_size", "x", "whole number"),
        ("model_config.modules.embedding.args.activation", 3, "a list of names"),
        ("model_config.modules.recurrent_stack.args.num_features", 129, "expected 257"),
        ("model_config.modules.embedding.args.hidden_size", 300, "expected 600"),
        ("model_config.modules.mel_projection.args.num_mels", 80, "expected -1"),
        ("model_config.modules.embedding.class", "Conv", "of the class Conv"),
        ("model_config.modules.recurrent_stack", None, "of the class None"),
        ("model_config.connections", [("embedding", ["a"])], "0 RecurrentStack"),
        ("model_config.connections", 3, "is no graph"),
        ("model_config.depth", 3, "unknown configuration key 'depth'"),
    ],
)
def test_a_key_without_a_counterpart_is_reported_in_one_sentence(
    music, key, value, sentence
):
    values, file = music
    put(values, key, value)
    with pytest.raises(ConfigError, match=sentence) as error:
        experiment_file.translate(values, file)
    assert str(error.value).startswith(f"{file}: ")
    assert "\n" not in str(error.value)


def test_numbers_may_be_texts_or_variables_of_the_environment(music):
    values, file = music
    expected = experiment_file.translate(values, file)
    put(values, "dataset_config.n_fft", "512")
    assert experiment_file.translate(values, file) == expected
    section = {"algorithm_config": {"args": {"num_sources": "${SPEAKERS}"}}}
    assert cookiecutter.translate(section)["cluster.sources"] == "${SPEAKERS}"
    named = {"info": {"output_folder": 2019}}
    cookiecutter.translate(named)


def test_another_way_to_the_stack_is_refused(music):
    values, file = music
    values["model_config"]["connections"][3] = ("embedding", ["normalization"])
    with pytest.raises(ConfigError, match="embedding is fed with"):
        experiment_file.translate(values, file)


def test_a_sweep_that_is_not_applied_is_hinted_at(music):
    values, file = music
    values |= {"sweep": [{"n_fft": 512}]}
    put(values, "dataset_config.n_fft", 256)
    with pytest.raises(ConfigError, match=r"python -m clustering\.sweep"):
        experiment_file.translate(values, file)
    assert "sweep" in cookiecutter.ignored(values)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            "a: 1\nb: !!python/object/apply:os.system [echo]",
            "line 2: the tag !!python/object/apply:os.system",
        ),
        ("a: !!python/name:os.system", "line 1: the tag !!python/name:os.system"),
        ("a: !own 1", "own"),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' occurs twice"),
        ("- 1", "holds no mapping"),
        ("3: 1", "holds no mapping"),
        ("a: [", "cannot be read"),
        ("? [1, 2]\n: 3", "cannot be read"),
        ("", "holds no mapping"),
    ],
)
def test_only_plain_yaml_is_read(tmp_path, text, sentence):
    file = tmp_path / "a.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence) as error:
        experiment_file.read_yaml(file)
    assert "a.yml" in str(error.value)
    assert "\n" not in str(error.value)


def test_tuples_and_anchors_are_read(tmp_path):
    file = tmp_path / "a.yml"
    file.write_text("a: !!python/tuple [1, [2]]\nb: &b {c: 1}\nd: {<<: *b, e: 2}")
    expected = {"a": (1, [2]), "b": {"c": 1}, "d": {"c": 1, "e": 2}}
    assert experiment_file.read_yaml(file) == expected


def test_a_missing_file_is_reported_in_one_sentence():
    with pytest.raises(ConfigError, match=r"nowhere\.yml: No such file .*; check"):
        experiment_file.read("nowhere.yml")
    with pytest.raises(
        ConfigError, match=r"^experiment file \S+: Is a directory; name"
    ):
        experiment_file.read(Path(__file__).parent)


def test_plain_keys_change_a_preset(tmp_path):
    (tmp_path / "corpus").mkdir()
    values = {
        "preset": "tiny_chimera",
        "data_root": "corpus",
        "spectral": {"recurrent": {"hidden": 7}},
        "lr": "5e-4",
        "model": "mine",
    }
    read = experiment_file.translate(values, tmp_path / "a.yml")
    tiny = PRESETS["tiny_chimera"]
    assert read.config.spectral.recurrent.hidden == 7
    assert read.config.spectral.recurrent.layers == tiny.spectral.recurrent.layers
    assert (read.config.kind, read.config.lr) == ("chimera", 5e-4)
    assert read.config.data_root == str(tmp_path / "corpus")
    assert experiment_file.model(read) == str(tmp_path / "mine")
    assert list(read.data) == ["train", "valid", "test"]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"preset": "large"}, "preset='large': expected one of dpcl"),
        ({"lrr": 1}, "unknown configuration key 'lrr'"),
        ({"spectral": {"hidden": 1}}, "spectral.hidden"),
        ({"lr": "fast"}, "lr='fast': expected a number"),
        ({"model": 3}, "model=3: expected a string"),
    ],
)
def test_plain_keys_are_checked(tmp_path, values, sentence):
    with pytest.raises(ConfigError, match=sentence):
        experiment_file.translate(values, tmp_path / "a.yml")


def test_the_data_of_a_file_are_read_by_its_keys(tmp_path):
    (tmp_path / "own.yml").write_text("allow_cut: true\nskip: true\n")
    experiment = experiment_file.read(tmp_path / "own.yml")
    config = experiment_file.with_data(ClusteringConfig(), experiment, "test")
    assert (config.allow_cut, config.skip) == (True, True)


def test_a_file_without_a_model_says_so(tmp_path):
    read = experiment_file.translate({"preset": "tiny"}, tmp_path / "a.yml")
    with pytest.raises(ConfigError, match=r"a\.yml names no model"):
        experiment_file.model(read)


def test_names_are_searched_beside_the_file_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("here", "beside/here", "only_here"):
        (tmp_path / name).mkdir(parents=True)
    file = Path("beside/a.yml")
    assert experiment_file.locate("here", file) == Path("beside/here")
    assert experiment_file.locate("only_here", file) == Path("only_here")
    assert experiment_file.locate("nowhere", file) == Path("beside/nowhere")


def test_the_experiment_of_the_package_is_that_of_its_model():
    read = experiment_file.read(REPOSITORY / "best_model/config.yml")
    folder = bundled.folder_of("clustering") / "mini"
    assert experiment_file.model(read) == str(folder)
    assert read.data["test"].config.dataset == "snippets"
    assert read.data["train"].config.data_root is None
    mini = configuration.load(ClusteringConfig, folder / "config.json")
    assert (read.config.kind, read.config.stft.bins) == (mini.kind, mini.stft.bins)
    assert read.config.hop_samples == mini.hop_samples
    assert read.config.spectral.recurrent == mini.spectral.recurrent
    assert network(read.config).count_params() == network(mini).count_params()


def test_the_commands_take_an_experiment_file(run, config, speakers, tmp_path, capsys):
    file = tmp_path / "own.yml"
    # Relative to the file, and not to the current folder.
    values = {"preset": "tiny", "model": "run", "data_root": str(speakers)}
    values |= {"cluster": {"percentile": 50.0, "mask": "soft"}}
    file.write_text(yaml.safe_dump(values), encoding="utf-8")
    restored = weights.restore(file)
    changed = replace(config.cluster, percentile=50.0, mask="soft")
    assert restored.config == replace(config, cluster=changed)
    wave = 0.1 * np.random.default_rng(0).standard_normal([1, 800])
    audio.write(tmp_path / "a.wav", wave.astype(np.float32), 8000)
    words = [str(tmp_path / "a.wav"), "-p", str(file), "--output", str(tmp_path / "s")]
    assert separate.main(words) == 0
    assert sorted(path.name for path in (tmp_path / "s/a").iterdir()) == [
        "report.json",
        "source0.wav",
        "source1.wav",
    ]
    output = tmp_path / "scores"
    assert evaluate.main(["-p", str(file), "--output", str(output)]) == 0
    assert (output / "summary.json").exists()
    assert train_command.main(["-p", str(file), "lr=0.5", "print_config"]) == 0
    assert train_command.main(["-p", str(file), "with", "wham"]) == 1
    assert "neither a preset (own)" in capsys.readouterr().err
    assert train_command.main(["-p"]) == 1
    assert "-p: expected one experiment file" in capsys.readouterr().err


def test_an_experiment_file_may_not_name_another(tmp_path):
    file = tmp_path / "a.yml"
    file.write_text("preset: tiny\nmodel: b.yml\n", encoding="utf-8")
    with pytest.raises(
        ConfigError, match=r"b\.yml, an experiment file; expected a run"
    ):
        weights.restore(file)


def test_a_model_that_is_nowhere_is_reported_in_one_sentence(tmp_path):
    with pytest.raises(CheckpointError, match=r"holds no config\.json; expected a run"):
        weights.restore(tmp_path)


def test_a_file_of_torch_that_is_no_model_is_refused(tmp_path):
    torch_file.write(tmp_path / "a.pth", {"a": np.ones(3, np.float32)})
    with pytest.raises(CheckpointError, match=r"no model of nussl 1\.x"):
        weights.restore(tmp_path / "a.pth")


def test_defaults_of_the_preset_stay():
    read = experiment_file.translate({"model": "mini"}, "a.yml")
    assert read.config == ClusteringConfig()
