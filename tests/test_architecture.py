"""The shape of the repository: its rooms, and which way imports run."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
PAPERS = ("mixit", "unmix", "adversarial", "clustering")
PILLARS = [name for name in PAPERS if (REPOSITORY / name / "__init__.py").exists()]
TEN_FILES = {
    "README.md",
    "__init__.py",
    "config.py",
    "model.py",
    "loss.py",
    "data.py",
    "train.py",
    "separate.py",
    "evaluate.py",
    "convert.py",
}
LEVELS = (
    ("beam", "child_processes", "cpus", "errors", "memory", "startup"),
    ("download", "files", "overwriting"),
    ("config", "plots"),
    ("audio", "signal"),
    ("corpora", "synthetic"),
    ("records",),
    ("training",),
    ("layers", "separation", "weights"),
    ("evaluation",),
    ("experiment", "doctor"),
    ("job",),
)
"""Rooms of ``common``; each imports from its own level and from those above it here."""
MOST_FILES = 14
"""Files of a folder, besides those that are commands."""
LARGE_FOLDERS = {"common/corpora": 30}
"""Folders that hold more, with the most that they may: one file for each corpus."""
SINGLE_READER = {
    "adversarial.songs.excerpts": "how songs become excerpts of training",
    "adversarial.summaries": "the images of the original in TensorBoard",
    "clustering.analyze": "a documented command",
    "clustering.clipping": "AutoClip, a paper of its own",
    "clustering.plot": "the plot of a separated item",
    "clustering.mixtures": "mixtures drawn from clean sounds; mix is its command",
    "clustering.losses.objective": "the loss of each network",
    "clustering.foreign.cookiecutter": "the experiment files of cookiecutter-nussl",
    "clustering.foreign.float64": "what the networks of files compute",
    "clustering.clusterers.numpy_kmeans": "k-means without TensorFlow",
    "common.audio.excerpts": "excerpts of wav files inside a graph",
    "common.corpora.mir1k": "a corpus",
    "common.corpora.remixpacks600": "a corpus",
    "common.corpora.slakh": "a corpus",
    "common.corpora.source_folders": "a layout of Open-Unmix",
    "common.corpora.track_folders": "a layout of Open-Unmix",
    "common.evaluation.bss_eval.energies": "what the ratios of BSS Eval are made of",
    "common.layers.lstm_cudnn": "one of the three programs of the LSTM",
    "common.layers.lstm_inference": "one of the three programs of the LSTM",
    "common.records.roomsim": "records of Google's room simulator",
    "common.separation.live": "separation while the sound goes on",
    "common.separation.report": "what report.json states",
    "common.separation.source_order": "the order of sources over the chunks of a sound",
    "common.separation.upper_band": "sound above the band of a model",
    "common.synthetic.miniature_music": "layouts of music",
    "common.synthetic.miniature_speech": "layouts of speech",
    "common.weights.registry": "a documented command",
    "mixit.augment.realisation": "how a mixture of FUSS is made from its list",
    "mixit.augment.sums": "the check of a corpus on disk",
    "mixit.light": "separation without TensorFlow, a documented command",
    "mixit.summaries": "the summaries of Google's program in TensorBoard",
    "mixit.yfcc.clip_corpus": "a corpus from clip lists",
    "mixit.yfcc.video_sound": "the sound of videos",
    "unmix.end_to_end": "the training through the Wiener filter",
    "unmix.scoring.run": "songs scored in processes of their own",
    "unmix.statistics": "mean and deviation of the training set",
    "unmix.stream": "separation of sound as it arrives",
}
"""Modules with one reader, and why they stand alone."""
NAMELESS = {"utils", "util", "helpers", "helper", "misc", "base", "core", "common"}
KERAS_3 = ("tf.keras.", "tensorflow.keras.")
MODULES = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for room in ("common", *PILLARS)
    for path in (REPOSITORY / room).rglob("*.py")
)

PAGE = sorted(
    path.relative_to(REPOSITORY).as_posix()
    for path in (REPOSITORY / "harmony_split").rglob("*.py")
)


@functools.cache
def parse(module: str) -> ast.Module:
    return ast.parse((REPOSITORY / module).read_text(encoding="utf-8"), module)


@functools.cache
def imported(tree: ast.Module) -> list[str]:
    """Every dotted name that a module imports, anywhere in it."""
    return names_of(ast.walk(tree))


def names_of(nodes: Iterable[ast.AST]) -> list[str]:
    """Every dotted name that statements import."""
    names = []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def roots(module: str) -> set[str]:
    """The packages that a module imports from."""
    return {name.partition(".")[0] for name in imported(parse(module))}


def attributes(tree: ast.Module) -> Iterator[str]:
    """Every dotted attribute, as ``tf.signal.stft``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield ast.unparse(node)


def public(node: ast.AST, inside: str = "") -> Iterator[tuple[str, ast.AST]]:
    """Every public function, class and method below a module."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.ClassDef):
            if child.name.startswith("_"):
                continue
            yield inside + child.name, child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{inside}{child.name}.")


def test_modules_of_one_lane_exist(request):
    conftest = Path(__file__).with_name("conftest.py")
    names = request.config.pluginmanager.get_plugin(str(conftest)).ONE_LANE
    for name in names:
        assert [*conftest.parent.glob(name), *conftest.parent.glob(f"{name}.py")], name


def test_there_is_something_to_check():
    assert "mixit" in PILLARS
    assert "common/audio/files.py" in MODULES


@pytest.mark.parametrize("pillar", PILLARS)
def test_pillar_has_the_ten_files(pillar):
    present = {path.name for path in (REPOSITORY / pillar).iterdir()}
    folders = {"model.py": "models", "loss.py": "losses"}
    missing = {name for name in TEN_FILES - present if folders.get(name) not in present}
    assert not missing


def test_imports_run_from_pillar_to_common():
    for module in MODULES:
        banned = set(PAPERS) - {module.partition("/")[0]}
        banned |= {"tests", "benchmarks", "harmony_split"}
        assert not roots(module) & banned, module


def test_page_imports_pillars_only_by_name():
    for module in PAGE:
        assert not roots(module) & {*PAPERS, "tests", "benchmarks", "tensorflow"}


def test_files_are_named_for_what_they_hold():
    assert not [m for m in [*MODULES, *PAGE] if Path(m).stem in NAMELESS]


def test_keras_is_tf_keras_and_tensorflow_1_lives_in_one_file():
    for module in MODULES:
        tree = parse(module)
        names = [*imported(tree), *attributes(tree)]
        banned = [n for n in names if f"{n}.".startswith(KERAS_3)]
        assert not banned, f"{module} has {banned}: write 'import tf_keras as keras'"
        assert "keras" not in roots(module), module
        if module != "common/weights/tf1.py":
            assert not [n for n in names if "compat.v1" in n], module


def test_everything_public_is_documented():
    undocumented = []
    for module in [*MODULES, *PAGE]:
        nodes = [("the module", parse(module)), *public(parse(module))]
        undocumented += [
            (module, n) for n, node in nodes if not ast.get_docstring(node)
        ]
    assert not undocumented


def test_a_command_starts_once_all_is_defined():
    for module in [*MODULES, *PAGE]:
        body = parse(module).body
        starts = [
            position
            for position, node in enumerate(body)
            if isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        ]
        assert starts in ([], [len(body) - 1]), module


EXAMPLES = [
    module
    for module in MODULES
    if module.startswith(("common/signal/", "common/audio/", "common/separation/"))
    or module.endswith("/loss.py")
    or "/losses/" in module
]
WITHOUT_EXAMPLE = {"command"}
"""Functions that read the command line of the process."""


def test_functions_of_signals_and_losses_have_examples():
    lacking = [
        f"{module}: {node.name}"
        for module in EXAMPLES
        for node in parse(module).body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and node.name not in WITHOUT_EXAMPLE
        and ">>>" not in (ast.get_docstring(node) or "")
    ]
    assert not lacking


def test_rooms_of_common_import_from_below():
    level = {room: number for number, rooms in enumerate(LEVELS) for room in rooms}
    upward = [
        (module, name)
        for module in MODULES
        if module.startswith("common/") and module != "common/__init__.py"
        for name in imported(parse(module))
        if name.startswith("common.") and name.split(".")[1] in level
        if level[name.split(".")[1]] > level[module.split("/")[1].removesuffix(".py")]
    ]
    assert not upward


def is_command(module: str) -> bool:
    """Whether ``python -m`` runs a module, which its users call by its name."""
    return "__main__" in module or any(
        isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)
        for node in parse(module).body
    )


def test_folders_hold_about_a_dozen_files():
    modules = [module for module in MODULES if not is_command(module)]
    folders = [Path(module).parent.as_posix() for module in modules]
    counts = {folder: folders.count(folder) for folder in folders}
    large = {
        folder: count
        for folder, count in counts.items()
        if count > LARGE_FOLDERS.get(folder, MOST_FILES)
    }
    assert not large


@pytest.mark.parametrize("pillar", [*PILLARS, "harmony_split"])
def test_readme_names_every_file(pillar):
    folder = REPOSITORY / pillar
    table = (folder / "README.md").read_text("utf-8").partition("| file |")[2]
    cells = [row.split("|")[1] for row in table.split("\n\n")[0].splitlines()[2:]]
    named = [name.rstrip("/") for cell in cells for name in re.findall("`(.+?)`", cell)]
    missing = [n for n in named if not (folder / n).exists() and "/" not in n]
    missing += [n for n in named if "/" in n and not (REPOSITORY / n).exists()]
    files = {path.name for path in folder.iterdir() if is_content(path)}
    assert not missing
    assert not files - set(named)


SECTIONS = (
    "Commands",
    "Presets",
    "Data",
    "Separation",
    "Evaluation",
    "Pretrained weights",
    "Files",
)


@pytest.mark.parametrize("pillar", PILLARS)
def test_readmes_have_one_skeleton(pillar):
    text = (REPOSITORY / pillar / "README.md").read_text("utf-8")
    titles = re.findall("^## (.+)$", text, re.MULTILINE)
    assert [title for title in titles if title in SECTIONS] == list(SECTIONS)


@pytest.mark.parametrize("pillar", PILLARS)
def test_flags_in_readmes_are_those_of_the_code(pillar):
    text = (REPOSITORY / pillar / "README.md").read_text("utf-8")
    own = [m for m in MODULES if m.split("/")[0] in (pillar, "common")]
    words = {word for module in own for word in texts(parse(module))}
    fields = {word for module in own for word in annotated(parse(module))}
    options = words | {f"--{word}" for word in {*fields, *words}} | OTHERS_FLAGS
    options |= {f"--{word.replace('_', '-')}" for word in {*fields, *words}}
    flags = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))
    assert not {flag for flag in flags if flag not in options}


OTHERS_FLAGS = {"--no-front-padding", "--python", "--seeds"}
"""Flags that argparse makes of another one, and those of scripts."""


def texts(tree: ast.Module) -> Iterator[str]:
    """Every text of a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def annotated(tree: ast.Module) -> Iterator[str]:
    """Every annotated name of a module, of which keys of configurations are some."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            yield node.target.id


def is_content(path: Path) -> bool:
    """Whether a table of files has to name a file or folder of a pillar."""
    if path.is_dir():
        return path.name != "__pycache__"
    return path.suffix == ".py" and path.name != "__init__.py"


def importers() -> dict[str, set[str]]:
    """Modules of the product by the module that they import."""
    dotted = {m.removesuffix(".py").replace("/", "."): m for m in MODULES}
    modules: dict[str, set[str]] = {name: set() for name in dotted}
    for name, module in dotted.items():
        for imported_name in imported(parse(module)):
            for target in (imported_name, imported_name.rpartition(".")[0]):
                if target in modules and target != name:
                    modules[target].add(name)
                    break
    return modules


def run_at_import(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below another one that runs when its module is imported."""
    for child in ast.iter_child_nodes(node):
        test = ast.unparse(child.test) if isinstance(child, ast.If) else ""
        if "TYPE_CHECKING" not in test and not isinstance(child, ast.FunctionDef):
            yield child
            yield from run_at_import(child)


def reached(name: str) -> set[str]:
    """Modules of the product that the import of a module imports, itself included."""
    modules = {
        m.removesuffix(".py").replace("/", ".").removesuffix(".__init__"): m
        for m in MODULES
    }
    seen: set[str] = set()
    queue = [name]
    while queue:
        module = queue.pop()
        if module in modules and module not in seen:
            seen.add(module)
            queue += names_of(run_at_import(parse(modules[module])))
            queue.append(module.rpartition(".")[0])
        elif module not in modules and "." in module:
            queue.append(module.rpartition(".")[0])
    return seen


@pytest.mark.parametrize("pillar", PILLARS)
def test_separation_imports_neither_scoring_nor_training(pillar):
    modules = reached(f"{pillar}.separate")
    assert {"common.weights.locate", "common.training.checkpoint"} <= modules
    assert "common.evaluation.table" in reached(f"{pillar}.evaluate")
    assert not {name for name in modules if name.startswith("common.evaluation")}
    others = {f"{pillar}.evaluate", f"{pillar}.train", "common.training.loop"}
    assert not modules & others


def test_a_module_with_one_reader_is_an_idea_of_its_own():
    commands = {f"{pillar}.{name[:-3]}" for pillar in PILLARS for name in TEN_FILES}
    single = {
        name
        for name, readers in importers().items()
        if len(readers) == 1 and name not in commands
    }
    assert single == set(SINGLE_READER)
