"""Module graphs of nussl's models, as shapes of our networks.

nussl describes a model by its modules, each of a class, and by what is fed to which.
Known here are the graphs that five of its builders make (nussl 1.1.9,
``ml/networks/builders.py``); any other is refused, because a network that is nearly the
same gives other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from clustering import shapes

Modules = dict[str, dict[str, Any]]
Network = (
    shapes.DeepClustering
    | shapes.MaskInference
    | shapes.Chimera
    | shapes.EndToEnd
    | shapes.DualPath
)

INPUT = "mixture"
"""What the input is called here; a model may call it anything."""

REQUIRED = object()
"""Default of an argument that has none."""

BEFORE, FIRST, LAST = (
    ("gated_tanh",),
    ("sigmoid", "tanh", "relu", "softmax"),
    ("unit_norm", "l1_norm"),
)
"""Activations in the order of nussl, which takes at most one of each row."""


class GraphError(ValueError):
    """A graph that none of our networks computes."""


class Arguments:
    """The arguments of one module, which must all be understood.

    Args:
        name: Name of the module.
        values: Its arguments.
        known: Default by name of those that may have several values.
        fixed: Value by name of those that our network has one value of.

    Raises:
        GraphError: An argument is unknown, missing, or has another value.
    """

    def __init__(
        self,
        name: str,
        values: Mapping[str, Any],
        known: Mapping[str, Any],
        fixed: Mapping[str, Any],
    ) -> None:
        self.name = name
        self.values = {**known, **values}
        for key, value in self.values.items():
            if key not in known and key not in fixed:
                raise GraphError(f"module {name} has the unknown argument {key}")
            if value is REQUIRED:
                raise GraphError(f"module {name} lacks the argument {key}")
            self.demand(key, fixed.get(key, value))

    def demand(self, key: str, wanted: Any) -> None:
        """Refuse another value than that which our network has."""
        if self.values.get(key, wanted) != wanted:
            raise self.error(key, repr(wanted))

    def size(self, key: str) -> int:
        """Take a whole number above 0."""
        value = self.values[key]
        if type(value) is not int or value < 1:
            raise self.error(key, "a whole number above 0")
        return value

    def error(self, key: str, expected: str) -> GraphError:
        """Make the sentence on a value."""
        value = str(self.values[key])[:80]
        return GraphError(
            f"module {self.name} has {key}={value}; expected {expected}, for which "
            "there is a network here"
        )


def translate(config: Any) -> Network:
    """Tell the shape of the network that a graph describes.

    Args:
        config: Configuration of a ``SeparationModel`` of nussl.

    Returns:
        Shape of the network that computes the same.

    Raises:
        GraphError: It is no such configuration, or there is no such network here.
    """
    modules, connections = parts(config)
    classes = {name for graph in GRAPHS for name in sum(graph.modules.values(), ())}
    for name, module in modules.items():
        if module["class"] not in classes:
            raise _foreign(f"module {name} of the class {module['class']}")
    found = {
        graph: _differences(graph, modules, connections, config["output"])
        for graph in GRAPHS
    }
    graph = min(GRAPHS, key=lambda graph: len(found[graph]))
    if found[graph]:
        raise _foreign(found[graph][0])
    return graph.shape(modules)


def parts(config: Any) -> tuple[Modules, list[Any]]:
    """Take modules and connections of a configuration, its input named ``mixture``.

    Raises:
        GraphError: It is no configuration of a model of nussl.
    """
    try:
        modules = {
            name: {"class": str(each["class"]), "args": dict(each.get("args") or {})}
            for name, each in config["modules"].items()
            if "class" in each
        }
        inputs = [name for name in config["modules"] if name not in modules]
        connections = [
            [name, [INPUT if each in inputs else each for each in sources]]
            for name, sources in config["connections"]
        ]
        set(config["output"])
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        problem = f"{type(error).__name__}: {str(error)[:80]}"
        raise GraphError(
            f"its configuration is not that of a model of nussl ({problem}); expected "
            "modules, connections and output"
        ) from error
    if len(inputs) != 1:
        raise _foreign(f"{len(inputs)} inputs ({', '.join(map(str, inputs))})")
    return modules, connections


@dataclass(frozen=True, eq=False)
class Graph:
    """A graph that a builder of nussl makes.

    Attributes:
        modules: Possible classes by name of the module.
        connections: Name of a module and what it is fed with, in this order.
        output: What must be among the outputs.
        shape: Function from the modules to the shape of our network.
    """

    modules: dict[str, tuple[str, ...]]
    connections: list[Any]
    output: set[str]
    shape: Callable[[Modules], Network]


def _foreign(what: str) -> GraphError:
    return GraphError(
        f"it has {what}, for which there is no network here; expected what nussl "
        "builds for mask inference, deep clustering, chimera, end-to-end or dual path"
    )


def _differences(
    graph: Graph, modules: Modules, connections: list[Any], output: list[str]
) -> list[str]:
    wrong = [
        f"module {name} of the class {module['class']}"
        for name, module in modules.items()
        if module["class"] not in graph.modules.get(name, ())
    ]
    wrong += [f"no module {name}" for name in graph.modules if name not in modules]
    for got, wanted in zip_longest(connections, graph.connections):
        if got is None:
            wrong.append(f"nothing that feeds module {wanted[0]} with {wanted[1]}")
        elif got != wanted:
            wrong.append(f"module {got[0]} fed with {got[1]}")
    return wrong + [f"no output {n}" for n in sorted(graph.output - set(output))]


def _features(modules: Modules) -> shapes.Features:
    _arguments(modules, "log_spectrogram", {}, {})
    batch = modules["normalization"]["class"] == "BatchNorm"
    fixed = {"num_features": 1, "feature_dim": 2, "eps": 1e-5, "momentum": 0.1}
    fixed |= {"affine": batch, "track_running_stats": batch}
    _arguments(modules, "normalization", {}, fixed)
    bins = _stack(modules).size("num_features")
    return shapes.Features(bins, norm="batch" if batch else "instance")


def _stack(modules: Modules) -> Arguments:
    return _rnn("recurrent_stack", modules["recurrent_stack"]["args"], True)


def _rnn(name: str, values: Mapping[str, Any], init_forget: bool) -> Arguments:
    known = dict.fromkeys(("num_features", "hidden_size", "num_layers"), REQUIRED)
    known |= {"bidirectional": REQUIRED, "dropout": REQUIRED}
    known |= {"init_forget": init_forget}
    return Arguments(name, values, known, {"rnn_type": "lstm", "batch_first": True})


def _recurrent(modules: Modules) -> shapes.Recurrent:
    stack = _stack(modules)
    dropout, forget = stack.values["dropout"], bool(stack.values["init_forget"])
    if not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise stack.error("dropout", "a number from 0 to below 1")
    return shapes.Recurrent(
        stack.size("hidden_size"),
        stack.size("num_layers"),
        bool(stack.values["bidirectional"]),
        float(dropout),
        initial="xavier" if forget else "uniform",
        forget_bias=1.0 if forget else None,
    )


def _head(modules: Modules, name: str, dims: Any = -1) -> tuple[int, tuple[Any, ...]]:
    """Tell numbers for each bin, and what is done to them."""
    known = dict.fromkeys(
        ("num_features", "hidden_size", "embedding_size", "activation"), REQUIRED
    )
    known |= {"dim_to_embed": -1}
    fixed = {"num_audio_channels": 1, "bias": True, "reshape": True}
    head = _arguments(modules, name, known, {**fixed, "dim_to_embed": dims})
    given = head.values["activation"]
    names = [given] if isinstance(given, str) else given
    rows = (BEFORE, FIRST, LAST)
    listed = [*BEFORE, *FIRST, *LAST, "none"]
    if not isinstance(names, list | tuple) or any(n not in listed for n in names):
        raise head.error("activation", f"some of {', '.join(listed)}")
    # A text is searched by nussl for each name: gated_tanh alone has tanh within it.
    found = [next((each for each in row if each in given), None) for row in rows]
    return head.size("embedding_size"), tuple(filter(None, found))


def _arguments(
    modules: Modules, name: str, known: Mapping[str, Any], fixed: Mapping[str, Any]
) -> Arguments:
    return Arguments(name, modules[name]["args"], known, fixed)


def _deep_clustering(modules: Modules) -> shapes.DeepClustering:
    front = _features(modules), _recurrent(modules)
    return shapes.DeepClustering(*front, *_head(modules, "embedding"))


def _mask_inference(modules: Modules) -> shapes.MaskInference:
    front = _features(modules), _recurrent(modules)
    return shapes.MaskInference(*front, *_head(modules, "mask"))


def _chimera(modules: Modules) -> shapes.Chimera:
    front = _features(modules), _recurrent(modules)
    return shapes.Chimera(*front, *_head(modules, "embedding"), *_head(modules, "mask"))


def _end_to_end(modules: Modules) -> shapes.EndToEnd:
    network = _mask_inference(modules)
    bank = _bank(modules, "sqrt_hann", False)
    window = bank.size("filter_length")
    bank.demand("num_filters", window)
    bins = window // 2 + 1
    for name, wanted in (("split", {"split_sizes": [bins, bins]}), ("concatenate", {})):
        known = {"dim": -1, **dict.fromkeys(wanted, REQUIRED)}
        _arguments(modules, name, known, {"dim": 2, **wanted})
    _arguments(modules, "expand", {}, {})
    learned = bool(bank.values["requires_grad"])
    return shapes.EndToEnd(network, window, bank.size("hop_length"), learned)


def _bank(modules: Modules, window: str, learned: bool) -> Arguments:
    known = dict.fromkeys(("num_filters", "filter_length", "hop_length"), REQUIRED)
    known |= {"requires_grad": learned, "direction": "transform"}
    fixed = {"window_type": window, "dilation": 1}
    bank = _arguments(modules, "audio", {**known, "window_type": "sqrt_hann"}, fixed)
    if bank.size("filter_length") % 2:
        raise bank.error("filter_length", "an even number")
    return bank


def _dual_path(modules: Modules) -> shapes.DualPath:
    bank = _bank(modules, "rectangular", True)
    filters = bank.size("num_filters")
    sizes = ("num_layers", "chunk_size", "hop_size", "bottleneck_size", "hidden_size")
    known = dict.fromkeys(
        (*sizes, "in_features", "intra_processor", "inter_processor"), REQUIRED
    )
    fixed = {"skip_connection": False, "in_features": filters}
    path = _arguments(modules, "dual_path", known, fixed)
    path.demand("inter_processor", path.values["intra_processor"])
    hidden = _processor(path)
    sources, activation = _head(modules, "mask", [2, 3])
    if len(activation) > 1 or not {"sigmoid", "relu", "softmax"}.issuperset(activation):
        raise GraphError(
            f"module mask has activation={', '.join(activation)}; expected one of "
            "sigmoid, relu, softmax, none"
        )
    return shapes.DualPath(
        shapes.Filterbank(filters, bank.size("filter_length"), bank.size("hop_length")),
        path.size("bottleneck_size"),
        hidden,
        path.size("num_layers"),
        path.size("chunk_size"),
        path.size("hop_size"),
        sources,
        activation[0] if activation else "none",
    )


def _processor(path: Arguments) -> int:
    """Tell the width of each direction of the stacks within the blocks."""
    stack = path.values["intra_processor"]
    if not isinstance(stack, Mapping) or stack.get("class") != "RecurrentStack":
        raise path.error("intra_processor", "a RecurrentStack")
    inner = _rnn("dual_path.intra_processor", stack.get("args") or {}, True)
    inner.demand("num_layers", 1)
    inner.demand("bidirectional", True)
    path.demand("hidden_size", 2 * inner.size("hidden_size"))
    inner.demand("num_features", path.size("bottleneck_size"))
    return inner.size("hidden_size")


_FRONT: dict[str, tuple[str, ...]] = {
    "log_spectrogram": ("AmplitudeToDB",),
    "normalization": ("BatchNorm", "InstanceNorm"),
    "recurrent_stack": ("RecurrentStack",),
}
_EMBEDDING: dict[str, tuple[str, ...]] = {"embedding": ("Embedding",)}
_MASK: dict[str, tuple[str, ...]] = {"mask": ("Embedding",), "estimates": ("Mask",)}
_STACK = [
    ["normalization", ["log_spectrogram"]],
    ["recurrent_stack", ["normalization"]],
]
_SPECTRAL = [["log_spectrogram", [INPUT]], *_STACK]
_TO_EMBEDDING = [["embedding", ["recurrent_stack"]]]
_TO_MASK = [["mask", ["recurrent_stack"]]]
_TO_ESTIMATES = [["estimates", ["mask", INPUT]]]
_FORWARD = ["audio", [INPUT, {"direction": "transform"}]]

GRAPHS = (
    Graph(
        _FRONT | _EMBEDDING, _SPECTRAL + _TO_EMBEDDING, {"embedding"}, _deep_clustering
    ),
    Graph(
        _FRONT | _MASK,
        _SPECTRAL + _TO_MASK + _TO_ESTIMATES,
        {"estimates"},
        _mask_inference,
    ),
    Graph(
        _FRONT | _EMBEDDING | _MASK,
        _SPECTRAL + _TO_EMBEDDING + _TO_MASK + _TO_ESTIMATES,
        {"embedding", "estimates"},
        _chimera,
    ),
    Graph(
        {
            **_FRONT,
            **_MASK,
            "audio": ("STFT",),
            "split": ("Split",),
            "concatenate": ("Concatenate",),
            "expand": ("Expand",),
        },
        [
            _FORWARD,
            ["split", ["audio"]],
            ["log_spectrogram", ["split:0"]],
            *_STACK,
            *_TO_MASK,
            ["estimates", ["mask", "split:0"]],
            ["expand", ["mask", "split:1"]],
            ["concatenate", ["estimates", "expand"]],
            ["audio", ["concatenate", {"direction": "inverse"}]],
        ],
        {"audio"},
        _end_to_end,
    ),
    Graph(
        {
            **_MASK,
            "audio": ("LearnedFilterBank",),
            "mixture_weights": ("ReLU",),
            "dual_path": ("DualPath",),
        },
        [
            _FORWARD,
            ["mixture_weights", ["audio"]],
            ["dual_path", ["mixture_weights"]],
            ["mask", ["dual_path"]],
            ["estimates", ["mask", "mixture_weights"]],
            ["audio", ["estimates", {"direction": "inverse"}]],
        ],
        {"audio"},
        _dual_path,
    ),
)
"""The graphs there are networks for."""
