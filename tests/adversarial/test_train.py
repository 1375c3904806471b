"""Both phases run to their end, go on after a kill, and do what the paper says."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from adversarial import evaluate, loss, phases, steps, summaries, train
from adversarial.config import PRESETS
from adversarial.evaluate import MEASURES
from adversarial.images import (
    critic_images,
    crop,
    mixture_images,
    pad_bins,
    source_images,
)
from adversarial.model import UNet
from adversarial.songs import corpus
from common import experiment, training
from common.config import ConfigError, override
from common.training import resume
from common.training.checkpoint import CheckpointError, find, restore_network
from common.training.logs import read_scalars
from common.training.resume import TrainingError

pytestmark = [
    pytest.mark.usefixtures("eager"),
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
]
SUPERVISED = {
    *("sup_sep_loss", "sep_loss", "mask_loss", "acc_norm_mean", "voice_norm_mean"),
    *("acc_sep_norm_mean", "voice_sep_norm_mean"),
}
UNPAIRED = {
    *("mask_loss_u", "unsup_sep_loss", "acc_norm_mean_u", "voice_norm_mean_u"),
    *("acc_sep_norm_mean_u", "voice_sep_norm_mean_u"),
    *("acc_disc_disc_loss", "acc_disc_disc_real", "acc_disc_disc_fake"),
    *("acc_disc_wasserstein_dist", "acc_disc_grad_pen"),
    *("voice_disc_disc_loss", "voice_disc_disc_real", "voice_disc_disc_fake"),
    *("voice_disc_wasserstein_dist", "voice_disc_grad_pen"),
}
OURS = {"split", "step", "epoch", "loss", "learning_rate"}


@pytest.fixture
def eager():
    """Run functions as they stand: graphs take longer to make than they are run."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def graphs(eager):
    """Run graphs nevertheless."""
    tf.config.run_functions_eagerly(False)


@pytest.fixture(autouse=True)
def cheap_scores(monkeypatch):
    """Instant numbers instead of measures of quality."""
    monkeypatch.setattr(
        evaluate, "scores", lambda truth, *_: dict.fromkeys(MEASURES, np.ones(2))
    )


def changed(config, **values):
    """The same configuration with other keys, named by two underscores for a dot."""
    named = {key.replace("__", "."): value for key, value in values.items()}
    return override(config, named)


def made(config, phase):
    """The job of one phase."""
    training.distribution.prepare(config.train.seed)
    each = phases.part(config, phase)
    return train.build(each, tf.distribute.get_strategy())


def model_of(config, phase):
    """What is trained in one phase, without its data."""
    training.distribution.prepare(config.train.seed)
    return train.compiled(replace(config, phases=phase))


@pytest.fixture(scope="module")
def a_batch():
    """The first batch of the second phase, of the first test that asks for it."""
    return {}


@pytest.fixture
def batch(a_batch, config):
    """What a step of either phase needs."""
    if not a_batch:
        a_batch.update(batch_of(made(config, "semisup")))
    return a_batch


def batch_of(task):
    return next(iter(task.train(0)))


def values(network):
    return [variable.numpy() for variable in network.trainable_variables]


def equal(one, other):
    return all((a == b).all() for a, b in zip(one, other, strict=True))


def best(folder):
    """Weights of the best checkpoint of a phase by name."""
    reader = tf.train.load_checkpoint(str(find(folder)))
    names = reader.get_variable_to_shape_map()
    return {n: reader.get_tensor(n) for n in names if n.startswith("network/")}


def lines(folder, split):
    return [each for each in read_scalars(folder) if each["split"] == split]


def one_sentence(capsys):
    """The error of a command, which must be one line."""
    errors = capsys.readouterr().err.strip().splitlines()
    assert len(errors) == 1, errors
    return errors[0]


@pytest.mark.one_lane
def test_both_phases_run_to_their_end_on_songs_listed_once(config, capsys, monkeypatch):
    list_songs, calls = corpus.list_songs, []
    monkeypatch.setattr(
        corpus, "list_songs", lambda config: calls.append(1) or list_songs(config)
    )
    assert train.run(config) == 0
    assert len(calls) == 1
    output = capsys.readouterr().out
    assert output.count("songs: 3 paired, 3 mixtures") == 1
    tags = {"sup": SUPERVISED, "semisup": SUPERVISED | UNPAIRED}
    for phase, expected in tags.items():
        folder = Path(config.output) / phase
        scalars = lines(folder, "train")
        # A line each step, and the means of the epoch of exactly three steps.
        assert [each["step"] for each in scalars] == [1, 2, 3, 3]
        assert all(set(each) - OURS == expected for each in scalars)
        assert all(
            np.isfinite([each[tag] for tag in expected]).all() for each in scalars
        )
        valid = lines(folder, "validation")
        assert [each["step"] for each in valid] == [3]
        assert all(each["valid_loss"] == each["loss"] for each in valid)
        tested = json.loads((folder / "test.json").read_text())
        assert tested["step"] == 3
        assert tested["databases"]["folders"]["vocals"]["SDR"]["count"] == 1
        assert tested["test_loss"] == pytest.approx(valid[-1]["loss"], rel=0.5)
        assert f"test loss {tested['test_loss']:.4f}" in output
        events = list(tf.io.gfile.glob(f"{folder}/events/test/*"))
        assert "test_loss" in written(events)
    assert output.count("trained 3 steps") == 2


def written(files):
    """Tags of event files."""
    tags = set()
    for record in tf.data.TFRecordDataset(files):
        event = tf.compat.v1.Event.FromString(record.numpy())  # noqa: TID251
        tags |= {value.tag for value in event.summary.value}
    return tags


@pytest.mark.slow
def test_images_are_written_under_the_tags_of_the_original(config):
    train.run(changed(config, phases="semisup"))
    events = tf.io.gfile.glob(f"{config.output}/semisup/events/validation/*")
    images = {tag for tag in written(events) if "/image/" in tag}
    names = ["sep_acc_norm", "sep_voice_norm"]
    names += [f"{k}_disc_{x}_input" for k in ("acc", "voice") for x in ("real", "fake")]
    assert images == {f"{name}/image/{number}" for name in names for number in range(3)}


@pytest.mark.slow
def test_finished_phases_are_neither_trained_nor_tested_again(config, monkeypatch):
    config = changed(config, phases="sup")
    train.run(config)
    before = read_scalars(f"{config.output}/sup")
    monkeypatch.setattr(evaluate, "evaluate", None)
    assert train.run(config) == 0
    assert read_scalars(f"{config.output}/sup") == before


def test_images_have_low_frequencies_at_the_bottom(config, batch):
    model = model_of(config, "semisup")
    paired = {"mixture": batch["mixture"], "sources": batch["sources"]}
    unpaired = {name: batch[name][:, 0] for name in steps.CRITIC_ENTRIES}
    examples = (
        lambda at, stream=stream: {name: wave[at % 2] for name, wave in stream.items()}
        for stream in (paired, unpaired)
    )
    actual = summaries.image_summaries(model, *examples)()
    order = [0, 1, 0]
    mixtures, others = (
        mixture_images(tf.gather(wave, order), model.settings, model.geometry)
        for wave in (batch["mixture"], batch["mixtures"][:, 0])
    )
    estimates, fake = model.network(mixtures.log), model.network(others.log)
    waves = tf.stack([unpaired["accompaniments"], unpaired["vocals"]], axis=1)
    waves = tf.gather(waves, order)
    real = source_images(waves, model.settings, model.geometry)
    expected = {"sep_acc_norm": estimates[:, 0], "sep_voice_norm": estimates[:, 1]}
    for source, k in (("acc", 0), ("voice", 1)):
        for name, image in (("real", real), ("fake", fake)):
            cut = critic_images(image[:, k], model.geometry)
            expected[f"{source}_disc_{name}_input"] = cut
    assert actual.keys() == expected.keys()
    for tag, image in expected.items():
        np.testing.assert_allclose(actual[tag], image[:, ::-1], atol=1e-5, err_msg=tag)


def test_the_validation_counts_the_frames_of_songs_and_no_others(config, batch):
    model = model_of(config, "sup")
    frames = model.geometry.output_frames

    def loss(weights):
        model.means["loss"].reset_state()
        weights = {"frame_weight": weights, "weight": tf.ones([2])}
        return float(model.test_step({**batch, **weights})["loss"])

    marks = np.random.default_rng(0).integers(0, 2, [2, frames])
    parts = [loss(tf.constant(each, tf.float32)) for each in (marks, 1 - marks)]
    share = marks.mean()
    whole = loss(tf.ones([2, frames]))
    assert parts[0] != pytest.approx(whole, rel=1e-4)
    expected = share * parts[0] + (1 - share) * parts[1]
    assert whole == pytest.approx(expected, rel=1e-5)


def test_the_optimizers_follow_the_configuration(config):
    rates = {"init_sup_sep_lr": 1e-3, "init_unsup_sep_lr": 2e-3, "init_disc_lr": 3e-3}
    values = {"adam_beta1": 0.4, "adam_beta2": 0.8, "adam_epsilon": 1e-5, "num_disc": 3}
    values = {f"model_config__{key}": x for key, x in {**rates, **values}.items()}
    config = changed(config, **values, train__lr_schedule="cosine")
    config = changed(config, train__steps_per_epoch=10, train__epochs=2)
    one, two = (model_of(config, phase) for phase in ("sup", "semisup"))
    optimizers = {1e-3: one.optimizer, 2e-3: two.optimizer}
    for rate, each in [
        *optimizers.items(),
        *((3e-3, e) for e in two.critic_optimizers),
    ]:
        assert (each.beta_1, each.beta_2, each.epsilon) == (0.4, 0.8, 1e-5)
        # At the start and after half of the steps, of which a critic takes three each.
        for step, factor in ((0, 1.0), (10 if rate < 3e-3 else 30, 0.5)):
            actual = float(each._learning_rate(step))
            assert actual == pytest.approx(factor * rate, rel=1e-5)


def test_critics_take_their_steps_and_the_separator_one(config, batch):
    model = model_of(config, "semisup")
    model.train_step(batch)
    assert int(model.optimizer.iterations) == 1
    assert [int(each.iterations) for each in model.critic_optimizers] == [2, 2]


def test_critic_and_separator_steps_change_only_their_own_weights(config, batch):
    model = model_of(config, "semisup")
    separator, critics = values(model.network), [values(c) for c in model.critics]
    model.critic_step({k: batch[k][:, 0] for k in steps.CRITIC_ENTRIES})
    assert equal(values(model.network), separator)
    moved = [values(critic) for critic in model.critics]
    assert not any(equal(a, b) for a, b in zip(moved, critics, strict=True))
    model.separator_step(batch)
    assert not equal(values(model.network), separator)
    assert all(
        equal(values(critic), before)
        for critic, before in zip(model.critics, moved, strict=True)
    )


def test_each_step_of_the_critics_has_examples_of_its_own(config, batch, monkeypatch):
    model = model_of(config, "semisup")
    seen = []
    step = model.critic_step
    monkeypatch.setattr(
        model, "critic_step", lambda batch: seen.append(batch) or step(batch)
    )
    model.train_step(batch)
    assert len(seen) == config.model_config.num_disc
    for name in steps.CRITIC_ENTRIES:
        assert np.abs(seen[0][name] - seen[1][name]).max() > 1e-3, name
    last = batch["mixtures"][:, -1]
    assert all(np.abs(each["mixtures"] - last).max() > 1e-3 for each in seen)


def image(waves, settings):
    """Magnitudes [batch, bins, frames, 1] of whole frames, by TensorFlow's own."""
    spectrum = tf.signal.stft(
        waves, settings.num_fft, settings.num_hop, settings.num_fft
    )
    return tf.abs(tf.transpose(spectrum, [0, 2, 1]))[..., tf.newaxis]


def as_seen(waves, settings, geometry):
    """The separator's input, and the linear magnitude of its centre."""
    whole = image(waves, settings)
    bins = settings.num_fft // 2 + 1
    centre = tf.pad(crop(whole, bins, geometry.output_frames), [[0, 0], [0, 1]] + ZERO)
    return tf.math.log1p(pad_bins(whole, geometry.input_bins)), centre


ZERO = [[0, 0], [0, 0]]


def truth(waves, settings):
    return tf.math.log1p(tf.pad(image(waves, settings), [[0, 0], [0, 1]] + ZERO))


def first_adam_step(weight, gradient, rate):
    """Where Adam goes at first: its means are the gradient and its square."""
    return weight - rate * gradient / (np.abs(gradient) + 1e-8 / np.sqrt(1e-3))


def assert_stepped(variables, before, gradients, rate, rounding=0.0):
    # Heads that are silent from the start would agree with anything.
    assert all(np.abs(gradient).max() > 1e-5 for gradient in gradients[-2:])
    for variable, old, gradient in zip(variables, before, gradients, strict=True):
        expected = first_adam_step(old, gradient.numpy(), rate)
        big = np.abs(gradient) > max(1e-5, rounding * np.abs(gradient).max())
        np.testing.assert_allclose(variable.numpy()[big], expected[big], atol=1e-5)


def test_a_supervised_step_is_that_of_the_paper(config, batch):
    model, settings = model_of(config, "sup"), config.model_config
    seen, mixture = as_seen(batch["mixture"], settings, model.geometry)
    acc, voice = (truth(batch["sources"][:, k], settings) for k in range(2))
    before = values(model.network)
    with tf.GradientTape() as tape:
        outputs = model.network(seen)
        total = tf.reduce_mean(tf.square(outputs[:, 0] - acc))
        total += tf.reduce_mean(tf.square(outputs[:, 1] - voice))
    gradients = tape.gradient(total, model.network.trainable_variables)
    scalars = model.train_step(batch)
    for name in ("loss", "sep_loss", "sup_sep_loss"):
        assert float(scalars[name]) == pytest.approx(float(total), rel=1e-4)
    estimated_sum = tf.exp(outputs[:, 0]) + tf.exp(outputs[:, 1]) - 2
    rest = tf.reduce_mean(tf.square(mixture - estimated_sum))
    assert float(scalars["mask_loss"]) == pytest.approx(float(rest), rel=1e-4)
    assert float(scalars["acc_norm_mean"]) == pytest.approx(np.mean(acc), rel=1e-4)
    assert float(scalars["voice_sep_norm_mean"]) == pytest.approx(
        np.mean(outputs[:, 1]), rel=1e-4
    )
    rate = settings.init_sup_sep_lr
    assert_stepped(model.network.trainable_variables, before, gradients, rate)


def test_a_semi_supervised_step_is_that_of_the_paper(config, batch):
    config = changed(config, model_config__alpha=0.3, model_config__beta=0.7)
    model, settings = model_of(config, "semisup"), config.model_config
    geometry, network = model.geometry, model.network
    seen, _ = as_seen(batch["mixture"], settings, geometry)
    other, mixture = as_seen(batch["mixtures"][:, -1], settings, geometry)
    sources = [truth(batch["sources"][:, k], settings) for k in range(2)]
    before = values(network)
    with tf.GradientTape() as tape:
        paired, unpaired = network(seen), network(other)
        sup = sum(
            tf.reduce_mean(tf.square(paired[:, k] - sources[k])) for k in range(2)
        )
        inner = unpaired[:, :, 1:-1, 1:-1]
        fooled = sum(
            -tf.reduce_mean(c(inner[:, k])) for k, c in enumerate(model.critics)
        )
        estimated_sum = tf.exp(unpaired[:, 0]) + tf.exp(unpaired[:, 1]) - 2
        rest = tf.reduce_mean(tf.square(mixture - estimated_sum))
        total = sup + 0.3 * fooled + 0.7 * rest
    gradients = tape.gradient(total, network.trainable_variables)
    scalars = model.separator_step(batch)
    means = {name: float(tf.reduce_mean(value)) for name, value in scalars.items()}
    expected = {
        "loss": total,
        "sep_loss": total,
        "sup_sep_loss": sup,
        "mask_loss_u": rest,
        "unsup_sep_loss": 0.3 * fooled + 0.7 * rest,
    }
    for name, value in expected.items():
        assert means[name] == pytest.approx(float(value), rel=1e-4), name
    rate = settings.init_unsup_sep_lr
    assert_stepped(network.trainable_variables, before, gradients, rate)


def test_terms_of_weight_zero_are_not_computed(config, batch, monkeypatch):
    for name in ("adversarial", "additivity", "gradient_penalty"):
        monkeypatch.setattr(f"adversarial.loss.{name}", lambda *_: 1 / 0)
    none = {f"model_config__{name}": 0.0 for name in ("alpha", "beta", "lam")}
    model = model_of(changed(config, **none), "semisup")
    unpaired, mixture = tf.ones([2, 2, 8, 4, 1]), tf.ones([2, 8, 4, 1])
    total, scalars = model.unsupervised_loss(unpaired, mixture)
    np.testing.assert_array_equal(total, [0.0, 0.0])
    assert scalars == {}
    waves = {k: batch[k][:, 0] for k in steps.CRITIC_ENTRIES}
    scalars = model.critic_step(waves)
    assert "voice_disc_disc_loss" in scalars
    assert "voice_disc_grad_pen" not in scalars
    assert np.isfinite(scalars["voice_disc_disc_loss"]).all()


def test_a_step_of_a_critic_is_that_of_the_paper(config, batch):
    model = model_of(changed(config, model_config__lam=7.0), "semisup")
    settings, batch = (
        config.model_config,
        {k: batch[k][:, 0] for k in steps.CRITIC_ENTRIES},
    )
    seen = mixture_images(batch["mixtures"], settings, model.geometry).log
    waves = tf.stack([batch["accompaniments"], batch["vocals"]], axis=1)
    real = source_images(waves, settings, model.geometry)[:, 1, 1:-1, 1:-1]
    # The slope jumps where a unit turns, so that both ways must see the same bits.
    np.testing.assert_allclose(
        real, truth(batch["vocals"], settings)[:, 1:-1, 1:-1], atol=1e-5
    )
    expected = as_seen(batch["mixtures"], settings, model.geometry)[0]
    np.testing.assert_allclose(seen, expected, atol=1e-5)
    fake = model.network(seen)[:, 1, 1:-1, 1:-1]
    critic = model.critics[1]
    # Steeper than 1, so that there is a penalty.
    critic.score.kernel.assign(50 * critic.score.kernel)
    before = values(critic)
    between = loss.interpolate(real, fake, batch["epsilon"][:, 1])
    share = tf.reshape(batch["epsilon"][:, 1], [-1, 1, 1, 1])
    mixed = (1 - share) * real + share * fake
    np.testing.assert_allclose(between, mixed, atol=1e-6)
    with tf.GradientTape() as tape:
        with tf.GradientTape() as inner:
            inner.watch(between)
            scores = critic(between)
        slope = tf.norm(tf.reshape(inner.gradient(scores, between), [2, -1]), axis=1)
        penalty = tf.reduce_mean(tf.square(tf.nn.relu(slope - 1)))
        distance = tf.reduce_mean(critic(real)) - tf.reduce_mean(critic(fake))
        total = -distance + 7.0 * penalty
    assert float(penalty) > 0
    gradients = tape.gradient(total, critic.trainable_variables)
    scalars = model.critic_step(batch)
    expected = {"disc_loss": total, "wasserstein_dist": distance, "grad_pen": penalty}
    for name, value in expected.items():
        mean = float(tf.reduce_mean(scalars[f"voice_disc_{name}"]))
        assert mean == pytest.approx(float(value), rel=1e-3), name
    # Among gradients of 1000 the sign of small ones is that of rounding.
    rate = settings.init_disc_lr
    assert_stepped(critic.trainable_variables, before, gradients, rate, rounding=1e-3)


def test_bfloat16_is_limited_to_the_convolutions_and_stays_near(config, batch):
    precisions = "float32", "bfloat16"
    schedules = [replace(config.train, precision=precision) for precision in precisions]
    models = [model_of(replace(config, train=each), "semisup") for each in schedules]
    assert equal(*(values(model) for model in models))
    one, other = (model.train_step(batch) for model in models)
    for name, value in one.items():
        assert float(other[name]) == pytest.approx(float(value), rel=0.05, abs=0.02)
    assert float(one["loss"]) != float(other["loss"])
    network = models[1].network
    assert network.encoder[0].compute_dtype == "bfloat16"
    dtypes = {v.dtype for critic in models[1].critics for v in critic.variables}
    assert dtypes == {tf.float32}
    assert {layer.compute_dtype for layer in network.heads} == {"float32"}


def test_a_run_starts_from_the_weights_of_another_model(config):
    of_mini = {"num_layers": 3, "initial_filters": 12, "head": "mask"}
    of_mini = {f"model_config__{key}": value for key, value in of_mini.items()}
    network = UNet(changed(config, **of_mini).model_config)
    train.start(changed(config, phases="sup", initial="mini", **of_mini), network)
    assert equal(values(network), values(phases.restore("mini")))
    wrong = changed(config, initial="mini", model_config__num_layers=2)
    sentence = (
        r"initial=mini has model_config\.num_layers=3, .* expected 2, .*; set the"
    )
    with pytest.raises(ConfigError, match=sentence):
        train.start(wrong, UNet(wrong.model_config))


@pytest.mark.slow
@pytest.mark.parametrize("source", ["none", "sup"])
def test_the_second_phase_starts_with_new_weights_or_the_best_of_the_first(
    config, source
):
    config = changed(config, model_config__init_from=source)
    new = values(made(config, "sup").model.network)
    training.train(phases.part(config, "sup"), train.build)
    job = made(config, "semisup")
    job.start()
    start = job.model.network
    learnt = UNet(config.model_config)
    restore_network(f"{config.output}/sup", learnt)
    assert not equal(new, values(learnt))
    assert equal(values(start), values(learnt)) == (source == "sup")
    assert equal(values(start), new) == (source == "none")


@pytest.mark.slow
@pytest.mark.parametrize("patience", [1, 2])
def test_a_phase_ends_after_epochs_without_progress(config, patience):
    config = changed(
        config,
        train__epochs=9,
        model_config__patience=patience,
        model_config__init_sup_sep_lr=0.0,
    )
    each = phases.part(config, "sup")
    model = training.train(each, train.build)
    assert int(model.optimizer.iterations) == 3 * (1 + patience)
    assert int(training.train(each, train.build).optimizer.iterations) == 3 * (
        1 + patience
    )


@pytest.mark.slow
def test_training_without_unpaired_songs_is_supervised_and_says_so_once(config, capsys):
    config = changed(config, corpora__unpaired=None)
    assert train.run(config) == 0
    assert capsys.readouterr().out.count("training is supervised only") == 1
    assert (Path(config.output) / "sup" / "test.json").exists()
    assert not (Path(config.output) / "semisup").exists()


def words(config, *more):
    """A command line of the same corpora and networks."""
    keys = {
        "corpora.paired": "track_folders",
        "corpora.root": config.corpora.data_root,
        "corpora.unpaired": "track_folders",
        "corpora.unpaired_root": config.corpora.unpaired_root,
        "output": config.output,
    }
    return ["with", "tiny", *(f"{key}={value}" for key, value in keys.items()), *more]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (["phases=semisup", "corpora.unpaired=none"], "phases=semisup needs unpaired"),
        (["mono_downmix=false"], "mono_downmix=false; expected true"),
        (["adam_beta1=1"], "model_config.adam_beta1=1; expected 0 to below 1"),
        (["num_fft=100"], "num_hop=256; expected at most num_fft (100)"),
        (["num_disc=0"], r"model_config.num_disc=0; expected at least 1"),
        (["corpora.root=/nowhere"], "the folder /nowhere does not exist"),
        (["corpora.root=/dev/null"], "/dev/null is a file, not a folder"),
    ],
)
def test_invalid_trainings_are_reported_in_one_sentence(
    config, capsys, change, sentence
):
    assert train.main(words(config, *change)) == 1
    assert sentence in one_sentence(capsys)
    assert not list(Path(config.output).glob("*/latest"))


@pytest.mark.slow
def test_a_critic_loss_of_nan_ends_the_run_and_keeps_the_last_checkpoint(
    config, monkeypatch
):
    config = changed(config, phases="semisup")
    train.run(config)
    longer = phases.part(changed(config, train__epochs=2), "semisup")
    whole, nan = loss.critic_loss, tf.stop_gradient(np.float32("nan"))
    with monkeypatch.context() as patch:
        patch.setattr(loss, "critic_loss", lambda *scores: whole(*scores) + nan)
        with pytest.raises(TrainingError, match=r"acc_disc_disc_loss is nan at step 4"):
            training.train(longer, train.build)
    latest = tf.train.latest_checkpoint(f"{config.output}/semisup/latest")
    assert latest.endswith("step-3")
    model = training.train(longer, train.build)
    assert int(model.optimizer.iterations) == 6


@pytest.mark.slow
def test_weights_of_another_number_of_layers_are_refused(config):
    training.train(phases.part(config, "sup"), train.build)
    other = changed(config, model_config__init_from="sup", model_config__num_layers=2)
    with pytest.raises(CheckpointError, match=r"saved by another configuration"):
        made(other, "semisup").start()


class Killed(BaseException):
    """Stands for a kill that leaves nothing but the files."""


def break_off(config, monkeypatch, phase, step):
    """Run both phases until a step of one of them."""
    finite = resume.RequireFinite.on_train_batch_end

    def kill(self, batch, logs=None):
        finite(self, batch, logs)
        here = int(self.model.optimizer.iterations.numpy()) == step
        if here and self._folder.name == phase:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(resume.RequireFinite, "on_train_batch_end", kill)
        with pytest.raises(Killed):
            train.run(config)


def assert_goes_on(config, tmp_path, monkeypatch, stops):
    train.run(config)
    for phase, step in stops:
        broken = replace(config, output=str(tmp_path / f"{phase}{step}"))
        break_off(broken, monkeypatch, phase, step)
        train.run(broken)
        for each in ("sup", "semisup"):
            folders = [Path(c.output) / each for c in (config, broken)]
            one, other = (saved(folder) for folder in folders)
            assert one.keys() == other.keys()
            for name, value in one.items():
                np.testing.assert_array_equal(other[name], value, err_msg=name)
            assert read_scalars(folders[0]) == read_scalars(folders[1])


def saved(folder):
    """Every tensor of the latest checkpoint, without the paths it was saved at."""
    reader = tf.train.load_checkpoint(str(folder / "latest"))
    ends = "/.ATTRIBUTES/VARIABLE_VALUE"
    names = [n for n in reader.get_variable_to_shape_map() if n.endswith(ends)]
    return {n: reader.get_tensor(n) for n in names if "save_counter" not in n}


@pytest.mark.slow
def test_an_interrupted_run_resumes_to_the_same_bits(config, tmp_path, monkeypatch):
    assert_goes_on(config, tmp_path, monkeypatch, [("semisup", 3)])


@pytest.mark.slow
def test_graphs_interrupted_anywhere_resume_to_the_same_bits(
    graphs, config, tmp_path, monkeypatch
):
    config = changed(config, train__epochs=2, model_config__init_from="sup")
    stops = [("sup", 1), ("sup", 5), ("semisup", 1), ("semisup", 5)]
    assert_goes_on(config, tmp_path, monkeypatch, stops)


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["sup", "semisup"])
def test_two_replicas_equal_one(graphs, config, phase):
    rates = dict.fromkeys(
        ("init_sup_sep_lr", "init_unsup_sep_lr", "init_disc_lr"), 1e-4
    )
    named = {f"model_config.{key}": value for key, value in rates.items()}
    config = override(config, named)
    one = stepped(config, phase, tf.distribute.get_strategy(), 4)
    two = stepped(config, phase, training.distribution.choose("mirrored", 2), 2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def stepped(config, phase, strategy, batch_size):
    """All weights after three steps."""
    training.distribution.prepare(1)
    # The cache of excerpts turns over with the batch, which is not the global one.
    config = changed(
        config,
        model_config__batch_size=batch_size,
        model_config__excerpts_reused=False,
    )
    with strategy.scope():
        task = train.build(phases.part(config, phase), strategy)
    start = values(task.model)
    task.model.fit(task.train(0), steps_per_epoch=3, verbose=0)
    assert not equal(values(task.model), start)
    return values(task.model)


def test_keys_are_spelled_as_in_the_original():
    command = experiment.Command("adversarial.train", PRESETS, "musdb_moisesdb", None)
    spelled = ["with", "model_config.alpha=0.01", "model_config.batch_size=32"]
    config = experiment.configure(command, experiment.parse(command, spelled))
    settings = config.model_config
    assert (settings.alpha, settings.batch_size) == (0.01, 32)
    defaults = {
        "model_base_dir": "checkpoints",
        "log_dir": "logs",
        "batch_size": 64,
        "alpha": 0.001,
        "beta": 0.001,
        "lam": 10,
        "init_disc_lr": 5e-5,
        "init_sup_sep_lr": 5e-5,
        "init_unsup_sep_lr": 5e-5,
        "epoch_it": 1000,
        "num_disc": 5,
        "num_frames": 64,
        "num_fft": 512,
        "num_hop": 256,
        "expected_sr": 8192,
        "mono_downmix": True,
        "cache_size": 64,
        "num_workers": 4,
        "segment_seconds": 10,
        "min_replacement_rate": 8,
        "num_layers": 4,
    }
    settings = PRESETS["musdb_moisesdb"].model_config
    assert {key: getattr(settings, key) for key in defaults} == defaults


@pytest.mark.parametrize(
    ("output", "log_dir", "linked"),
    [
        ("checkpoints/542621", "logs", ["542621_semisup", "542621_sup"]),
        ("elsewhere/542621", "logs", []),
        ("checkpoints/542621", "none", []),
    ],
)
def test_events_are_linked_where_the_original_writes_them(
    config, tmp_path, monkeypatch, output, log_dir, linked
):
    monkeypatch.chdir(tmp_path)
    config = changed(config, output=output, model_config__log_dir=log_dir)
    for phase in ("sup", "semisup"):
        events = Path(output) / phase / "events"
        events.mkdir(parents=True)
        (events / "file").touch()
        for _ in range(2):
            phases.link_events(phases.part(config, phase))
    assert sorted(each.parent.name for each in Path().glob("logs/*/file")) == linked


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ({"voice_disc_grad_pen": np.inf, "loss": 1.0}, "voice_disc_grad_pen is inf"),
        ({"mask_loss": np.nan, "loss": np.nan}, "loss is nan"),
    ],
)
def test_the_scalar_that_is_not_finite_is_named(config, values, name):
    finite = resume.RequireFinite(Path("/run"))
    finite.set_model(model_of(config, "sup"))
    finite.on_train_batch_end(0, dict.fromkeys(values, 1.0))
    with pytest.raises(TrainingError, match=rf"^{name} at step 0; .* in /run/latest"):
        finite.on_train_batch_end(0, values)


@pytest.mark.slow
def test_the_number_of_workers_changes_no_batch(config):
    one, other = (
        batch_of(made(changed(config, model_config__num_workers=n), "sup"))
        for n in (1, 3)
    )
    np.testing.assert_array_equal(one["mixture"], other["mixture"])


@pytest.mark.parametrize("preset", [each for each in PRESETS if each != "tiny"])
def test_a_published_preset_without_a_root_is_refused(preset, tmp_path, capsys):
    assert train.main(["with", preset, f"output={tmp_path / 'run'}"]) == 1
    printed = capsys.readouterr().err
    for word in ("corpora.data_root is not set", "MUSDB18_ROOT_DIR", "'with tiny'"):
        assert word in printed
    assert not (tmp_path / "run").exists()
