"""Google's flags write what Google's program writes, and all of it."""

import re

import numpy as np
import pytest

from common import audio
from common.separation.separator import Separator
from mixit import process_wav

RATE = 8000


def load(model, **options):
    def network(batch):
        return np.stack([0.5 * batch, 0.3 * batch, 0.2 * batch], 1)

    if options.get("metagraph"):
        assert options["input_tensor"] == "in:0"
    return Separator(network, ["source0", "source1", "source2"], RATE)


@pytest.fixture
def stereo(tmp_path):
    path = tmp_path / "mix.wav"
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 4000)).astype(np.float32)
    audio.write(path, wave, 11025)
    return path


def run(stereo, *words):
    output = stereo.parent / "new" / "out.wav"
    return process_wav.main(
        load, ["-i", str(stereo), "-o", str(output), "-m", "model", *words]
    )


def test_every_source_at_the_rate_and_channels_of_the_file(stereo, capsys):
    assert run(stereo) == 0
    written = sorted((stereo.parent / "new").iterdir())
    assert [p.name for p in written] == [f"out_source{i}.wav" for i in range(3)]
    wave, rate = audio.read(written[0])
    assert (rate, wave.shape) == (11025, (2, 4000))
    total = sum(audio.read(path)[0] for path in written)
    inner = np.s_[:, 200:-200]
    assert np.std(total[inner] - audio.read(stereo)[0][inner]) < 0.2
    assert "mix.wav: 3 stems" in capsys.readouterr().out
    assert run(stereo) == 1
    assert "exists; give --overwrite" in capsys.readouterr().err
    assert run(stereo, "--overwrite") == 0


def test_the_input_is_never_replaced(stereo, capsys):
    named = stereo.with_name("mix_source0.wav")
    stereo.rename(named)
    before, output = named.read_bytes(), stereo.parent / "x" / ".." / "mix.wav"
    words = ["-i", str(named), "-o", str(output), "-m", "model", "--overwrite"]
    assert process_wav.main(load, words) == 1
    assert process_wav.main(load, [*words, "-ic", "1"]) == 1
    assert "is the input" in capsys.readouterr().err
    assert named.read_bytes() == before
    assert [path.name for path in stereo.parent.iterdir()] == ["mix_source0.wav"]


def test_bad_input_leaves_no_folder(stereo):
    def breaks(model):
        return Separator(lambda batch: batch, ["a", "b", "c"], RATE)

    output = stereo.parent / "new" / "deep" / "out.wav"
    words = ["-i", str(stereo), "-o", str(output), "-m", "model"]
    assert process_wav.main(breaks, words) == 1
    assert [path.name for path in stereo.parent.iterdir()] == ["mix.wav"]


def test_blocks_and_braces_are_taken_as_they_are(stereo):
    lengths = []

    def watched(model, **options):
        assert options == {"segment_seconds": 0.125}

        def network(batch):
            lengths.append(batch.shape[-1])
            return batch[:, None]

        return Separator(network, ["source0"], RATE, named=True, **options)

    output = stereo.parent / "{out}.wav"
    words = ["-i", str(stereo), "-o", str(output), "-m", "model", "-bs", "0.125"]
    assert process_wav.main(watched, words) == 0
    assert set(lengths) == {1000}
    assert (stereo.parent / "{out}_source0.wav").exists()


def test_first_channels_only(stereo):
    assert run(stereo, "-ic", "1", "-oc", "2", "-pi", "True", "-wt", "vorbis") == 0
    written = sorted((stereo.parent / "new").iterdir())
    assert [p.name for p in written] == ["out_source0.wav", "out_source1.wav"]
    assert audio.probe(written[0]).channels == 1


def test_tensor_names_go_to_the_meta_graph(stereo):
    assert run(stereo, "--metagraph", "-it", "in:0") == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["-ns", "2"], "--num_sources is 2, but the model has 3 outputs"),
        (["-si", "True"], "--scale_input is not supported"),
        (["-wos", "no"], "--write_outputs_separately=false is not supported"),
        (["-sr", "16000"], "--sample_rate is 16000, but .* has 11025 Hz"),
        (["-ic", "3"], "--input_channels is 3, but .* has 2"),
        (["-ot", "x:0"], "give --metagraph to run it"),
    ],
)
def test_what_makes_no_sense_is_refused(stereo, words, sentence, capsys):
    assert run(stereo, *words) == 1
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1
    assert re.search(sentence, printed)
    assert not (stereo.parent / "new").exists()
