"""Songs in, stems out: one pass, tiles and blocks alike, at both rates."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from adversarial import phases, separate
from adversarial.config import TINY, ModelConfig
from adversarial.model import UNet
from common import audio
from common.audio import resample
from common.config import save
from common.separation.separator import SeparationError
from common.training.checkpoint import CheckpointError, save_network

RATE = 8192


def network(head="softplus", **changes):
    """A small network whose heads are alive."""
    keras.utils.set_random_seed(3)
    settings = replace(TINY.model_config, head=head, **changes)
    net = UNet(settings)
    for layer in net.heads:
        layer.bias.assign_add([0.3])
    return net


def noise(channels, samples, seed=0):
    wave = np.random.default_rng(seed).normal(0, 0.1, [channels, samples])
    return wave.astype(np.float32)


def write_run(base, name, phases=("sup",), time="2026-01-01T00:00:00+00:00", seed=0):
    """Folders as a training leaves them, without its training."""
    nets = {}
    for phase in phases:
        nets[phase] = network()
        nets[phase].heads[0].bias.assign([float(seed + len(phase))])
        folder = base / name / phase
        folder.mkdir(parents=True)
        save_network(folder, nets[phase])
        save(replace(TINY, phases=phase, output=str(folder)), folder / "config.json")
        (folder / "run.json").write_text(json.dumps({"starts": [{"time": time}]}))
    save(replace(TINY, output=str(base / name)), base / name / "config.json")
    return nets


def bias(net):
    return float(net.heads[0].bias[0])


@pytest.fixture(scope="module")
def net():
    return network()


@pytest.mark.parametrize("head", ["relu", "mask"])
def test_tiles_and_chunks_equal_one_pass(head):
    net, mixture = network(head), noise(1, 5 * RATE + 77)
    whole = separate.separator(net, tile_frames=0, segment_seconds=None)(mixture)
    assert all(np.abs(wave).max() > 1e-3 for wave in whole.values())
    ways = [
        {"tile_frames": 64, "segment_seconds": None},
        {"tile_frames": 16, "segment_seconds": 2.01},
        {"tile_frames": 0, "segment_seconds": 2.6, "overlap": 0.5},
    ]
    for way in ways:
        actual = separate.separator(net, **way)(mixture)
        for name, wave in whole.items():
            np.testing.assert_allclose(actual[name], wave, atol=1e-6, err_msg=str(way))


def test_tiles_of_the_original_size_equal_one_pass():
    net = UNet(ModelConfig(initial_filters=2, head="softplus"))
    mixture = noise(1, 9 * RATE)
    whole = separate.separator(net, tile_frames=0, segment_seconds=None)(mixture)
    tiled = separate.separator(net, segment_seconds=4.0)(mixture)
    far = separate.separator(net, tile_frames=66, segment_seconds=None)(mixture)
    np.testing.assert_allclose(tiled["vocals"], whole["vocals"], atol=1e-6)
    # 66 frames are no whole number of periods, so that such tiles are not the same.
    assert np.abs(far["vocals"] - whole["vocals"]).max() > 1e-5


def test_griffin_lim_changes_the_phase_alike_in_chunks(net):
    mixture = noise(1, 5 * RATE)
    plain = separate.separator(net, segment_seconds=None)(mixture)["vocals"]
    rounds = {"griffin_lim": 4}
    whole = separate.separator(net, segment_seconds=None, **rounds)(mixture)["vocals"]
    blocks = separate.separator(net, segment_seconds=2.5, **rounds)(mixture)["vocals"]
    np.testing.assert_allclose(blocks, whole, atol=1e-6)
    assert np.abs(whole - plain).max() > 1e-3
    # Of noise the magnitudes that were asked for are met better with each round.
    assert _miss(whole, net, mixture) < 0.9 * _miss(plain, net, mixture)


def _spectrum(wave, net):
    return separate.transform(tf.constant(wave), net.config).numpy()


def _miss(wave, net, mixture):
    """Squared distance of a spectrum from the magnitudes that were estimated."""
    seen = np.abs(_spectrum(mixture, net))[:, np.newaxis]
    expected = separate.estimate_magnitudes(net, tf.constant(seen), net.geometry)
    expected = expected[0, 0, 0].numpy()
    return np.square(np.abs(_spectrum(wave, net))[0] - expected).sum()


@pytest.mark.parametrize("num_fft", [512, 400])
def test_the_estimates_of_a_mask_head_sum_to_the_mixture(num_fft):
    """Also where the output has several rows more than the spectrum has bins."""
    mixture = noise(2, 3 * RATE + 5)
    net = network("mask", num_fft=num_fft, num_hop=num_fft // 2, num_layers=4)
    actual = separate.separator(net)(mixture)
    np.testing.assert_allclose(sum(actual.values()), mixture, atol=1e-6)


def test_only_masks_are_stated_to_add_up():
    made = [
        separate.separator(network(head), sample_rate=rate)
        for head, rate in (
            ("softplus", "model"),
            ("mask", "model"),
            ("softplus", "input"),
        )
    ]
    assert [each.complete for each in made] == [False, True, True]


def test_estimates_have_the_magnitude_that_the_network_says(net):
    mixture = noise(1, 2 * RATE)
    spectrum = _spectrum(mixture, net)
    geometry, images = net.geometry, np.log1p(np.abs(spectrum))
    frames = images.shape[1]
    length = geometry.output_frames + (-frames + geometry.output_frames) % 4 + 4 * 40
    around = geometry.context_frames
    padded = np.zeros([1, geometry.input_bins, length + 2 * around, 1], np.float32)
    low = (geometry.input_bins - images.shape[2]) // 2
    padded[0, low : low + images.shape[2], around : around + frames, 0] = images[0].T
    log = net(padded).numpy()[0, :, : images.shape[2], :frames, 0]
    masked = np.expm1(log)[1].T * np.exp(1j * np.angle(spectrum[0]))
    again = tf.signal.inverse_stft(
        tf.constant(masked, tf.complex64),
        512,
        256,
        window_fn=tf.signal.inverse_stft_window_fn(256, tf.signal.hann_window),
    ).numpy()[256 : 256 + mixture.shape[1]]
    actual = separate.separator(net)(mixture)["vocals"][0]
    np.testing.assert_allclose(actual, again, atol=2e-5)


@pytest.mark.parametrize("samples", [1, 255, 256, 257, 3000])
def test_short_sound_of_any_number_of_channels(net, samples):
    for rate in ("model", "native"):
        actual = separate.separator(net, sample_rate=rate)(noise(6, samples))
        assert actual["vocals"].shape == actual["accompaniment"].shape == (6, samples)


def test_silence_gives_silence(net):
    for actual in separate.separator(net)(np.zeros([1, 9000], np.float32)).values():
        assert not actual.any()


def test_channels_are_separated_each_on_its_own_unless_by_masks(net):
    left, right = noise(1, 9000), noise(1, 9000, 1)
    both = np.concatenate([left, right])
    actual = separate.separator(net)(both)["vocals"]
    alone = separate.separator(net)(left)["vocals"]
    np.testing.assert_allclose(actual[:1], alone, atol=1e-6)
    native = separate.separator(net, sample_rate="native")
    mono = native(both.mean(0, keepdims=True))["vocals"]
    np.testing.assert_allclose(
        native(both)["vocals"].mean(0, keepdims=True), mono, atol=1e-6
    )
    panned = native(np.concatenate([left, 0.5 * left]))["vocals"]
    np.testing.assert_allclose(panned[1], 0.5 * panned[0], atol=1e-6)


def song(folder, rate=22050, seconds=3.0):
    samples = int(seconds * rate)
    low = resample.resample(noise(2, int(seconds * RATE)), RATE, rate)[:, :samples]
    wave = low + 0.05 * np.sin(2 * np.pi * 7000 * np.arange(low.shape[1]) / rate)
    audio.write(folder / "my song.flac", wave.astype(np.float32), rate, "flac")
    return folder / "my song.flac", audio.read(folder / "my song.flac")[0]


def run(*words):
    return separate.main([str(word) for word in words])


def test_the_options_of_the_card(tmp_path, capsys, monkeypatch):
    write_run(tmp_path / "checkpoints", "542621")
    path, wave = song(tmp_path)
    monkeypatch.chdir(tmp_path)
    prefix = "checkpoints/542621/sup/best/step-0"
    words = ["--input", path, "--output", "out/", "--checkpoint", prefix]
    assert run(*words, "--sample-rate", "model") == 0
    written = sorted(each.name for each in (tmp_path / "out").rglob("*"))
    names = ["accompaniment.wav", "original.flac", "report.json", "vocals.wav"]
    assert written == [f"my song_{name}" for name in names]
    copy = tmp_path / "out" / "my song_original.flac"
    assert copy.read_bytes() == path.read_bytes()
    stem = audio.probe(tmp_path / "out" / "my song_vocals.wav")
    assert stem == (RATE, 2, 3 * RATE)
    mixture = resample.resample(wave, 22050, RATE)
    expected = separate.load(prefix)(mixture)["vocals"]
    actual = audio.read(tmp_path / "out" / "my song_vocals.wav")[0]
    np.testing.assert_allclose(actual, expected, atol=1e-6)
    assert run(*words) == 1
    assert "my song_vocals.wav exists; give --overwrite" in capsys.readouterr().err
    again = [path, "--output", "out", "--model", prefix, "--overwrite"]
    assert run(*again, "--targets", "vocals") == 0


@pytest.mark.parametrize("rate", [(), ("--sample-rate", "native")])
def test_stems_add_up_and_agree_below_the_band(tmp_path, capsys, rate):
    write_run(tmp_path, "run")
    path, wave = song(tmp_path)
    words = [path, "--model", tmp_path / "run", "--output", tmp_path / "out"]
    assert run(*words, *rate) == 0
    vocals, accompaniment = (
        audio.read(tmp_path / "out" / f"my song_{name}.wav")[0]
        for name in ("vocals", "accompaniment")
    )
    assert vocals.shape == wave.shape
    np.testing.assert_allclose(vocals + accompaniment, wave, atol=1e-7)
    residual = float(capsys.readouterr().out.split("mixture by ")[1].split(" dB")[0])
    assert residual < -140
    high = np.abs(np.fft.rfft(vocals, axis=1))[:, 4200 * 3 :]
    assert high.max() < 1e-3 * np.abs(np.fft.rfft(wave, axis=1)).max()
    working = separate.load(tmp_path / "run", sample_rate="input")
    expected = working(resample.resample(wave, 22050, RATE))["vocals"]
    below = slice(0, 3600 * 3)
    truth = np.fft.rfft(expected, axis=1)[:, below] / RATE
    actual = np.fft.rfft(vocals, axis=1)[:, below] / 22050
    assert np.abs(actual - truth).max() < 2e-3 * np.abs(truth).max()


def test_mp3_is_read(tmp_path):
    write_run(tmp_path, "run")
    path, _ = song(tmp_path)
    mp3 = tmp_path / "song.mp3"
    audio.write(mp3, audio.read(path)[0], 22050, "mp3")
    words = ["--input", mp3, "--output", tmp_path / "out"]
    assert run(*words, "--checkpoint", tmp_path / "run") == 0
    assert (tmp_path / "out" / "song_original.mp3").read_bytes() == mp3.read_bytes()


def test_a_broken_file_leaves_no_output(tmp_path, capsys):
    write_run(tmp_path, "run")
    bad = tmp_path / "bad.mp3"
    bad.write_bytes(b"\xff\xfb" + bytes(range(256)) * 8)
    words = ["--input", bad, "--output", tmp_path / "out"]
    assert run(*words, "--checkpoint", tmp_path / "run") == 1
    assert "bad.mp3" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_newest_run_is_found_by_its_record(tmp_path, capsys, monkeypatch):
    base = tmp_path / "checkpoints"
    write_run(base, "3", time="2026-03-01T00:00:00+00:00", seed=30)
    newest = write_run(base, "1", ("sup", "semisup"), "2026-04-01T00:00:00+00:00", 10)
    write_run(base, "2", time="2026-02-01T00:00:00+00:00", seed=20)
    path, _ = song(tmp_path, seconds=0.2)
    monkeypatch.chdir(tmp_path)
    assert bias(phases.restore("newest")) == bias(newest["semisup"])
    assert bias(phases.restore("checkpoints/1/sup")) == bias(newest["sup"])
    assert run("--input", path) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(
        "newest run: checkpoints/1/semisup\nmy song.flac: 2 stems"
    )
    assert (tmp_path / "separated" / "my song_vocals.wav").exists()
    for name in ("best", "config.json"):
        (base / "1" / "semisup" / name).rename(tmp_path / name)
    assert bias(phases.restore("newest")) == bias(newest["sup"])


def test_without_a_checkpoint_the_error_says_what_to_do(tmp_path, capsys, monkeypatch):
    path, _ = song(tmp_path, seconds=0.2)
    monkeypatch.chdir(tmp_path)
    assert run("--input", path) == 1
    printed = capsys.readouterr().err
    assert "there is no run with a checkpoint below" in printed
    assert "--checkpoint" in printed
    assert printed.count("\n") == 1
    with pytest.raises(SystemExit) as stop:
        run("--output", "out")
    assert stop.value.code == 2


def test_two_models_or_settings_beside_a_run_are_refused(tmp_path, capsys):
    write_run(tmp_path, "run")
    path, _ = song(tmp_path, seconds=0.2)
    assert run(path, "--model", "a", "--checkpoint", "b") == 1
    assert "two models are named, a and b; give one" in capsys.readouterr().err
    assert run(path, "--model", tmp_path / "run", "--num-frames", "64") == 1
    sentence = "holds all settings; leave num_frames out"
    assert sentence in capsys.readouterr().err


def test_silence_of_the_mixture_has_no_gain():
    magnitude = tf.constant([0.0, 1e-12, 2.0])
    gains = separate._gains(tf.constant([[1.0, 1.0, 1.0]]), magnitude)
    np.testing.assert_array_equal(gains, [[0.0, 0.0, 0.5]])


def test_paths_that_are_no_run_are_named(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "542621_sup-1001.index").write_text("")
    save(TINY, tmp_path / "config.json")
    cases = {
        "nothing": "does not exist; expected a run folder",
        "folder": r"holds no config.json",
        "542621_sup-1001": "is not in a run folder",
        ".": r"holds no checkpoint .* semisup and sup",
    }
    for name, words in cases.items():
        with pytest.raises(CheckpointError, match=words):
            phases.restore(tmp_path / name)


def test_a_checkpoint_of_another_depth_is_refused(tmp_path):
    write_run(tmp_path, "run")
    phase_folder = tmp_path / "run" / "sup"
    other = replace(TINY, model_config=replace(TINY.model_config, num_layers=3))
    save(other, phase_folder / "config.json")
    with pytest.raises(CheckpointError, match="another configuration"):
        separate.load(tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"tile_frames": -1}, "tile_frames is -1; expected at least 0"),
        ({"griffin_lim": -2}, "griffin_lim is -2"),
        (
            {"sample_rate": "44100"},
            "sample_rate is '44100'; expected model or input or native",
        ),
        ({"segment_seconds": 0.5}, r"segment is 0.5 s; expected at least .* around"),
    ],
)
def test_bad_options_are_named(net, options, words):
    with pytest.raises(SeparationError, match=words):
        separate.separator(net, **options)


@pytest.mark.slow
def test_an_hour_goes_through_in_flat_memory(tmp_path):
    """Peak memory of a process for a long song is that for a short one."""
    write_run(tmp_path, "run")
    peaks = []
    for seconds in (150, 600):
        wave = np.tile(noise(1, RATE), (1, seconds))
        audio.write(tmp_path / f"{seconds}.wav", wave, RATE)
        command = (
            "import resource, sys; from adversarial import separate;"
            "code = separate.main(sys.argv[1:]);"
            "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss); sys.exit(code)"
        )
        words = [str(tmp_path / f"{seconds}.wav"), "--model", str(tmp_path / "run")]
        words += ["--output", str(tmp_path / "out")]
        done = subprocess.run(
            [sys.executable, "-c", command, *words],
            capture_output=True,
            text=True,
            check=True,
        )
        peaks.append(int(done.stdout.splitlines()[-1]))
    assert peaks[1] < 1.1 * peaks[0]
