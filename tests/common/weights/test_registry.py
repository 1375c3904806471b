"""The registry of models: lists as a table and as JSON, details, downloads."""

import hashlib
import importlib
import json
import subprocess
import sys
import types
from pathlib import Path

import pytest

from common.download import DownloadError
from common.files import cache_folder
from common.weights import bundled, card, registry
from common.weights.card import Card, Score
from common.weights.entry import Entry, File

REPOSITORY = Path(__file__).resolve().parents[3]
BUNDLED = sorted(path.parent for path in REPOSITORY.glob("*/bundled/*/config.json"))


def model(name="small", pillar="unmix", **changes):
    values = {
        "source": "https://host/1",
        "licence": "MIT",
        "score": "5 dB",
        "cached": False,
        "files": [],
    }
    return Entry(name, pillar, **(values | changes))


def offer(monkeypatch, **pillars):
    """Replace the pillars by some of these names with these models."""
    monkeypatch.setattr(registry, "PILLARS", ("absent", *pillars))
    for pillar, models in pillars.items():
        module = types.ModuleType(f"{pillar}.published")
        module.entries = lambda models=models: models
        monkeypatch.setitem(sys.modules, pillar, types.ModuleType(pillar))
        monkeypatch.setitem(sys.modules, f"{pillar}.published", module)


def test_absent_pillars_are_passed_over(monkeypatch):
    offer(monkeypatch, one=[model("a")], two=[model("b"), model("c")])
    assert [entry.name for entry in registry.entries()] == ["a", "b", "c"]


def test_broken_pillars_are_not_passed_over(monkeypatch, tmp_path):
    (tmp_path / "brokenpillar").mkdir()
    (tmp_path / "brokenpillar" / "__init__.py").touch()
    (tmp_path / "brokenpillar" / "published.py").write_text("import no_such_package\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "PILLARS", ("brokenpillar",))
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        registry.entries()


@pytest.mark.parametrize("name", ["mixit", "unmix"])
def test_models_of_the_pillars(name, monkeypatch, tmp_path):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))
    monkeypatch.setattr(registry, "PILLARS", (name,))
    models = {entry.name: entry for entry in registry.entries()}
    published = sys.modules[f"{name}.published"].MODELS
    assert set(published) <= set(models)
    for entry in models.values():
        assert entry.pillar == name
        assert entry.source
        assert entry.licence
        assert entry.score
        assert entry.files
        assert entry.cached == (entry.name not in published)


def test_published_facts(monkeypatch, tmp_path):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))
    models = {f"{entry.pillar}/{entry.name}": entry for entry in registry.entries()}
    umxl = models["unmix/umxl"]
    assert umxl.licence == "CC BY-NC-SA 4.0"
    assert umxl.source.endswith("/5069601")
    assert umxl.score.startswith("SDR vocals 7.21, drums 7.15, bass 6.02, other 4.89")
    assert umxl.files[0].sha256 == "bccbd9aa"
    assert umxl.size == 4 * 4 * 28_257_188
    assert all(file.about for file in umxl.files)
    assert "9.8 dB" in models["mixit/fuss_baseline"].score
    assert models["mixit/bird4"].size is None
    assert models["mixit/mini"].licence == "Apache-2.0"
    assert models["mixit/bird4"].score == models["unmix/umxse"].score == "not measured"
    assert len(models["mixit/mini"].files[0].sha256) == 64


def test_cached_models_have_sizes_and_are_checked(monkeypatch, tmp_path):
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path))
    umxse = next(entry for entry in registry.entries() if entry.name == "umxse")
    for file in umxse.files:
        file.path.parent.mkdir(parents=True, exist_ok=True)
        file.path.write_bytes(b"12345")
    bird = next(entry for entry in registry.entries() if entry.name == "bird4")
    assert not bird.cached
    index = next(file.path for file in bird.files if file.path.suffix == ".index")
    index.parent.mkdir(parents=True)
    index.touch()
    models = {entry.name: entry for entry in registry.entries()}
    assert models["umxse"].cached
    assert models["umxse"].size == 10
    assert models["bird4"].cached
    assert "expected f5e0d9f9...: damaged" in registry.describe(models["umxse"])


def test_bundled_models_are_described_by_their_cards(tmp_path, monkeypatch):
    (tmp_path / "small" / "vocals").mkdir(parents=True)
    (tmp_path / "small" / "config.json").write_text("{}")
    first, second = (Score("SDR", "dB", f"{n} songs", True, {"a": n}) for n in (5, 6))
    about = Card("Small", ("a", "b"), 8000, 1, "MIT", "noise", "make", (first, second))
    card.write(about, tmp_path / "small")
    data = tmp_path / "small" / "vocals" / "weights.safetensors"
    data.write_bytes(b"weights")
    (tmp_path / "no model").mkdir()
    (tmp_path / "without card").mkdir()
    (tmp_path / "without card" / "config.json").write_text("{}")
    monkeypatch.setattr(bundled, "folder_of", lambda pillar: tmp_path)
    entry, bare = bundled.entries("unmix")
    assert entry == Entry(
        "small",
        "unmix",
        "comes with the package",
        "MIT",
        "SDR a 5.0 dB (5 songs)",
        True,
        [File(data, "", 7, False, hashlib.sha256(b"weights").hexdigest())],
        {
            "summary": "Small",
            "sources": "a, b",
            "sample rate": "8000 Hz",
            "channels": 1,
            "trained on": "noise",
            "trained by": "make",
            "further scores": "SDR a 6.0 dB (6 songs)",
        },
    )
    assert (bare.licence, bare.score) == ("not stated", "not measured")


@pytest.mark.parametrize("folder", BUNDLED, ids=lambda path: "/".join(path.parts[-3:]))
def test_cards_describe_the_bundled_models(folder):
    about, text = card.read(folder), (folder / "README.md").read_text("utf-8")
    pillar = folder.parents[1].name
    separator = importlib.import_module(pillar).load(folder.name)
    assert about.sources == tuple(separator.sources)
    assert about.sample_rate == separator.sample_rate
    assert about.channels == separator.channels
    assert card.UNSTATED not in (about.licence, about.trained_on, about.command)
    numbers = [f"{v:.1f}" for score in about.scores for v in score.values.values()]
    assert [number for number in [*numbers, about.licence] if number not in text] == []
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 6_000_000


def test_bundled_models_come_first():
    flags = [entry.bundled for entry in registry.entries()]
    assert flags == sorted(flags, reverse=True)
    assert sum(flags) == len(BUNDLED)


def test_one_line_for_each_model(monkeypatch, capsys):
    files = [
        File(Path("a"), size=2_000_000, about=True, sha256="0123456789"),
        File(Path("b"), size=500_000, about=True, sha256="abcdefabcd"),
    ]
    offer(
        monkeypatch,
        one=[model("a", "one", files=files, score="word " * 40)],
        two=[model("b", "two", cached=True, files=[File(Path("c"), sha256="0" * 64)])],
    )
    assert registry.main(["list"]) == 0
    _, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("a     one      no      ~2.5 MB")
    assert first.endswith(" ...  01234567 abcdefab")
    assert second.startswith("b     two      yes     unknown")
    assert second.endswith("0" * 64)


def test_digests_are_unknown_before_the_first_download(monkeypatch, capsys):
    offer(monkeypatch, one=[model(files=[File(Path("a"), "https://host/a")])])
    registry.main(["list"])
    assert capsys.readouterr().out.endswith("  unknown until first download\n")
    registry.main(["show", "small"])
    assert "SHA-256: unknown until first download\n" in capsys.readouterr().out
    registry.main(["list", "--json"])
    (actual,) = json.loads(capsys.readouterr().out)
    assert actual["files"][0]["sha256"] is None
    assert not actual["bundled"]


def test_sizes_that_are_known_in_part(monkeypatch, capsys):
    files = [File(Path("a"), size=3_000_000), File(Path("b"))]
    offer(monkeypatch, one=[model(files=files)])
    registry.main(["list"])
    assert "> 3.0 MB" in capsys.readouterr().out


def test_show(monkeypatch, capsys, tmp_path):
    path = tmp_path / "weights"
    path.write_bytes(b"weights")
    whole = hashlib.sha256(b"weights").hexdigest()
    files = [
        File(path, "https://host/1/weights", 7, sha256=whole[:8]),
        File(tmp_path / "other", "https://host/1/other", sha256="01234567"),
    ]
    both = [model("a", "one", files=files, facts={"outputs": 4})], [model("a", "two")]
    offer(monkeypatch, one=both[0], two=both[1])
    assert registry.main(["show", "a"]) == 0
    text = capsys.readouterr().out
    assert f"SHA-256: {whole}\n" in text
    assert "SHA-256: 01234567...\n" in text
    assert "from: https://host/1/other\n" in text
    assert "outputs: 4\n" in text
    assert "two/a\n" in text
    assert registry.main(["show", "two/a"]) == 0
    assert "one/a" not in capsys.readouterr().out


def test_json(monkeypatch, capsys):
    offer(monkeypatch, one=[model("a", "one", files=[File(Path("x"), size=5)])])
    for words in (["list", "--json"], ["show", "a", "--json"]):
        assert registry.main(words) == 0
        (actual,) = json.loads(capsys.readouterr().out)
        assert (actual["name"], actual["pillar"], actual["size"]) == ("a", "one", 5)
        assert actual["files"][0]["path"] == "x"
        assert actual["facts"] == {}


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """A pillar with a bundled, a good and a broken model; names that were fetched."""
    names = []

    def fetch(name):
        if name == "broken":
            raise DownloadError("https://host/broken gave a web page")
        names.append(name)
        (cache_folder(name)).mkdir(parents=True)
        (cache_folder(name) / "weights").write_bytes(b"weights")

    def entries():
        weights = cache_folder("good") / "weights"
        own = model("own", "one", files=[File(tmp_path, "")])
        good = [File(weights, "https://host/1", sha256=digest[:8])]
        broken = [File(cache_folder("broken") / "weights", "https://host/2")]
        return [
            own,
            model("good", "one", files=good),
            model("broken", "one", files=broken),
        ]

    digest = hashlib.sha256(b"weights").hexdigest()
    monkeypatch.setenv("SEPARATION_CACHE", str(tmp_path / "cache"))
    offer(monkeypatch, one=[])
    monkeypatch.setattr(sys.modules["one.published"], "entries", entries)
    monkeypatch.setattr(sys.modules["one.published"], "fetch", fetch, raising=False)
    return names


def test_fetch_prints_the_path_of_a_model(fetched, tmp_path, capsys):
    output = tmp_path / "usb"
    assert registry.main(["fetch", "own", "good", "--output", str(output)]) == 0
    own, good = capsys.readouterr().out.splitlines()
    assert own == "one/own comes with the package: nothing to download"
    assert good.startswith(f"one/good: 1 file, 0.0 MB in {output / 'good'};")
    assert good.endswith(f"SEPARATION_CACHE={output} finds it there")
    assert fetched == ["good"]


def test_a_model_that_fails_does_not_stop_the_others(fetched, capsys):
    assert registry.main(["fetch", "broken", "good"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "one/broken: https://host/broken gave a web page\n"
    assert captured.out.startswith("one/good: 1 file")


def test_fetch_checks_existing_files(fetched, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["one.published"], "fetch", lambda name: None)
    (tmp_path / "cache" / "good").mkdir(parents=True)
    (tmp_path / "cache" / "good" / "weights").write_bytes(b"damaged")
    assert registry.main(["fetch", "good"]) == 1
    assert "damaged or another file, so remove and" in capsys.readouterr().err


def test_unknown_name(monkeypatch, capsys):
    offer(monkeypatch, one=[model("a", "one")])
    assert registry.main(["show", "b"]) == 1
    assert "b is an unknown model; expected one of one/a" in (capsys.readouterr().err)


@pytest.mark.slow
def test_command():
    command = [sys.executable, "-m", "common.weights.registry", "list", "--json"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert {"mini", "umxhq"} <= {entry["name"] for entry in json.loads(result.stdout)}


def test_the_list_needs_no_tensorflow():
    words = "import sys; from common.weights import registry; registry.entries()"
    test = f"{words}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", test], check=False).returncode == 0
