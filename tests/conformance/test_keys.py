"""Keys of the same thing have one name in all packages; other names stand for it."""

import json

import pytest

import adversarial.job
import clustering.job
import mixit.job
import unmix.job
from clustering import sweep
from clustering.foreign import experiment_file
from common import experiment
from common.config import ConfigError, flatten, keys, load, save, to_dict
from common.training.run_folder import RunFolderError, prepare

VOCABULARIES = {
    package.__name__.partition(".")[0]: package.SCRIPT.vocabulary
    for package in (adversarial.job, clustering.job, mixit.job, unmix.job)
}
SEGMENT = {"adversarial": "model_config.segment_seconds"}
CORPUS = {"adversarial": "corpora.data_root"}
PAIRS = [
    ("unmix", "root=/x", "data_root=/x"),
    ("unmix", "seq_dur=3", "segment_seconds=3.0"),
    ("clustering", "root=/x", "data_root=/x"),
    ("clustering", "clip_kind=norm clip=5", "clip_norm=5"),
    ("clustering", "clip=3 clip_kind=auto", "clip_percentile=3"),
    ("clustering", "clip_kind=auto", "clip_percentile=10"),
    ("clustering", "autoclip_dc clip=3", "autoclip_dc clip_percentile=3"),
    ("clustering", "autoclip_dc clip_kind=none", "autoclip_dc clip_percentile=none"),
    ("clustering", "nussl_wham_dpcl clip=3", "nussl_wham_dpcl clip_norm=3"),
    ("adversarial", "corpora.root=/x", "corpora.data_root=/x"),
    ("adversarial", "root=/x", "data_root=/x"),
    ("adversarial", "duration=3", "segment_seconds=3"),
    ("adversarial", "precision=bfloat16", "train.precision=bfloat16"),
]


def configure(package, line):
    vocabulary = VOCABULARIES[package]
    return experiment.configure(vocabulary, experiment.parse(vocabulary, line.split()))


def as_flags(line):
    """The same words with --key value instead of key=value."""
    return " ".join(
        f"--{word.partition('=')[0].replace('_', '-')} {word.partition('=')[2]}"
        if "=" in word
        else word
        for word in line.split()
    )


@pytest.mark.parametrize("package", VOCABULARIES)
def test_packages_name_the_same_things_alike(package):
    own = keys(type(configure(package, "")))
    assert CORPUS.get(package, "data_root") in own
    assert SEGMENT.get(package, "segment_seconds") in own
    flags = "--data-root /x --segment-seconds 3"
    config = configure(package, flags)
    assert config == configure(package, "data_root=/x segment_seconds=3.0")
    values = flatten(to_dict(config))
    assert values[CORPUS.get(package, "data_root")] == "/x"
    assert values[SEGMENT.get(package, "segment_seconds")] == 3.0


@pytest.mark.parametrize("package", ["mixit", "unmix", "clustering"])
def test_the_rate_has_the_name_that_errors_about_a_corpus_advise(package):
    config = configure(package, "sample_rate=12345")
    assert 12345 in flatten(to_dict(config)).values()


@pytest.mark.parametrize("package", ["mixit", "clustering"])
def test_the_norm_of_the_gradient_has_one_key(package):
    assert configure(package, "clip_norm=5").clip_norm == 5.0


@pytest.mark.parametrize(("package", "old", "new"), PAIRS)
def test_other_names_of_keys_mean_the_same(package, old, new):
    config = configure(package, new)
    assert configure(package, old) == config
    assert configure(package, as_flags(old)) == config
    assert configure(package, as_flags(new)) == config
    assert config != configure(
        package, " ".join(w for w in new.split() if "=" not in w)
    )


@pytest.mark.parametrize(
    ("package", "line", "sentence"),
    [
        (
            "unmix",
            "root=/x data_root=/y",
            "root='/x' and data_root='/y' are two values",
        ),
        ("unmix", "--seq-dur 6 segment_seconds=5", "expected segment_seconds alone"),
        ("adversarial", "root=/x data_root=/y", "expected corpora.data_root alone"),
        (
            "adversarial",
            "segment_seconds=3 duration=4",
            "expected model_config.segment_seconds",
        ),
        ("clustering", "clip=5 clip_norm=4", "clip='5' and clip_norm='4': clip became"),
        ("clustering", "clip_kind=x", "clip_kind='x': expected one of 'none', 'auto'"),
        ("unmix", "seq_dur=x", "seq_dur='x': expected a number"),
        ("mixit", "root=/x", "did you mean 'data_root'"),
    ],
)
def test_two_names_with_different_values_are_one_sentence(package, line, sentence):
    with pytest.raises(ConfigError) as caught:
        configure(package, line)
    assert sentence in str(caught.value)


def test_two_names_with_one_value_are_no_error():
    config = configure("unmix", "root=/x data_root=/x seq_dur=6 segment_seconds=6.0")
    assert (config.data_root, config.segment_seconds) == ("/x", 6.0)


def test_the_command_line_replaces_another_name_in_a_file(tmp_path):
    file = tmp_path / "mine.yml"
    file.write_text("root: /x\nseq_dur: 2\n")
    config = configure("unmix", f"{file} data_root=/y")
    assert (config.data_root, config.segment_seconds) == ("/y", 2.0)
    assert configure("unmix", f"data_root=/y {file}").data_root == "/x"
    file.write_text("corpora: {root: /x}\nmodel_config: {duration: 4}\n")
    config = configure("adversarial", f"{file}")
    assert (config.corpora.data_root, config.model_config.segment_seconds) == (
        "/x",
        4.0,
    )
    file.write_text("clip: 3\nclip_kind: norm\n")
    assert configure("clustering", f"{file} clip_norm=4").clip_norm == 4.0
    file.write_text("root: /x\ndata_root: /y\n")
    with pytest.raises(ConfigError, match="are two values of one key"):
        configure("unmix", str(file))


EARLIER = {
    "unmix": {"root": "data_root", "seq_dur": "segment_seconds"},
    "clustering": {"root": "data_root"},
    "adversarial": {
        "corpora.root": "corpora.data_root",
        "model_config.duration": "model_config.segment_seconds",
    },
}


@pytest.mark.parametrize("package", EARLIER)
def test_a_run_under_the_earlier_names_goes_on(package, tmp_path):
    config = configure(package, "data_root=/x segment_seconds=3")
    values = flatten(to_dict(config))
    for old, new in EARLIER[package].items():
        values[old] = values.pop(new)
    begin(tmp_path, values)
    assert load(type(config), tmp_path / "config.json") == config
    prepare(tmp_path, config)
    with pytest.raises(RunFolderError, match=r"data_root='/x', now .*data_root='/y'"):
        prepare(tmp_path, configure(package, "data_root=/y segment_seconds=3"))


@pytest.mark.parametrize("preset", ["dpcl", "autoclip_dc", "nussl_wham_dpcl"])
def test_a_run_with_the_earlier_keys_of_clipping_goes_on(preset, tmp_path):
    config = configure("clustering", preset)
    values = flatten(to_dict(config))
    norm, percentile = values.pop("clip_norm"), values.pop("clip_percentile")
    kind = "norm" if norm else "auto" if percentile else "none"
    begin(tmp_path, {**values, "clip": norm or percentile or 10.0, "clip_kind": kind})
    assert load(type(config), tmp_path / "config.json") == config
    prepare(tmp_path, config)
    with pytest.raises(RunFolderError, match="now clip_norm=7"):
        prepare(tmp_path, configure("clustering", f"{preset} clip_norm=7"))


def begin(folder, values):
    """Leave a run of an earlier release with a checkpoint."""
    (folder / "latest").mkdir()
    (folder / "latest" / "step-1.index").touch()
    (folder / "config.json").write_text(json.dumps({"format": 2, **values}))


@pytest.mark.parametrize("package", VOCABULARIES)
def test_saved_configurations_have_the_names_of_today(package, tmp_path):
    config = configure(package, "data_root=/x")
    save(config, tmp_path / "config.json")
    values = flatten(json.loads((tmp_path / "config.json").read_text()))
    assert {*values} == {"format", *keys(type(config))}
    assert load(type(config), tmp_path / "config.json") == config


def test_experiment_files_and_sweeps_take_either_name(tmp_path):
    values = {"preset": "autoclip_dc", "root": "/x", "clip": 3}
    config = experiment_file.translate(values, tmp_path / "mine.yml").config
    assert config == configure("clustering", "autoclip_dc data_root=/x clip=3")
    old = sweep.from_words(["tiny", "root=/x", "clip_kind=norm", "clip=1,2"])
    new = sweep.from_words(["tiny", "data_root=/x", "clip_norm=1,2"])
    assert [config for _, config in old] == [config for _, config in new]
    assert [config.clip_norm for _, config in new] == [1.0, 2.0]


def test_the_corpus_has_one_name_in_all_packages():
    for name in VOCABULARIES:
        words = "tiny dataset=song_folders data_root=/x"
        config = configure(name, words)
        corpora = config.corpora if name == "adversarial" else config
        assert corpora.data_root == "/x"
        assert "song_folders" in flatten(to_dict(config)).values()


def test_scripts_take_either_name():
    for name in ("root", "data_root"):
        words = experiment.parse(VOCABULARIES["unmix"], ["umx", f"{name}=/x"])
        assert words.updates == {"data_root": "/x"}


def test_help_shows_other_names():
    vocabulary = VOCABULARIES["unmix"]
    command = experiment.Command(
        vocabulary.name, vocabulary.presets, "tiny", lambda *_: 0
    )
    text = experiment.usage(command)
    assert "segment_seconds=2.0: a number (also: seq_dur)" in text
    assert "data_root=None: a string or none (also: root)" in text


def test_the_configuration_is_shown_under_the_names_of_today(capfd):
    vocabulary = VOCABULARIES["unmix"]
    command = experiment.Command(
        vocabulary.name, vocabulary.presets, "tiny", lambda *_: 0
    )
    assert experiment.run(command, ["print_config", "with", "tiny", "root=/x"]) == 0
    shown = "".join(capfd.readouterr())
    assert "data_root = '/x'" in shown
    assert "seq_dur" not in shown
