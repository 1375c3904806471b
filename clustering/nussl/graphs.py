"""Module graphs of nussl's models, as shapes of our networks.

nussl describes a model by its modules, each of a class, and by what is fed to which.
Known here are the graphs that five of its builders make (nussl 1.1.9,
``ml/networks/builders.py``); any other is refused, because a network that is nearly the
same gives other numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

from clustering.nussl import module_shapes
from clustering.nussl.arguments import GraphError, Modules
from clustering.nussl.module_shapes import Network

INPUT = "mixture"
"""What the input is called here; a model may call it anything."""


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
        _FRONT | _EMBEDDING,
        _SPECTRAL + _TO_EMBEDDING,
        {"embedding"},
        module_shapes.deep_clustering,
    ),
    Graph(
        _FRONT | _MASK,
        _SPECTRAL + _TO_MASK + _TO_ESTIMATES,
        {"estimates"},
        module_shapes.mask_inference,
    ),
    Graph(
        _FRONT | _EMBEDDING | _MASK,
        _SPECTRAL + _TO_EMBEDDING + _TO_MASK + _TO_ESTIMATES,
        {"embedding", "estimates"},
        module_shapes.chimera,
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
        module_shapes.end_to_end,
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
        module_shapes.dual_path,
    ),
)
"""The graphs there are networks for."""
