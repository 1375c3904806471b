"""From the modules of a model of nussl to the shape of one of our networks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clustering import shapes
from clustering.nussl.arguments import REQUIRED, Arguments, GraphError, Modules

Network = (
    shapes.DeepClustering
    | shapes.MaskInference
    | shapes.Chimera
    | shapes.EndToEnd
    | shapes.DualPath
)


BEFORE, FIRST, LAST = (
    ("gated_tanh",),
    ("sigmoid", "tanh", "relu", "softmax"),
    ("unit_norm", "l1_norm"),
)
"""Activations in the order of nussl, which takes at most one of each row."""


def deep_clustering(modules: Modules) -> shapes.DeepClustering:
    """Tell the shape of a network of embeddings."""
    front = _features(modules), _recurrent(modules)
    return shapes.DeepClustering(*front, *_head(modules, "embedding"))


def mask_inference(modules: Modules) -> shapes.MaskInference:
    """Tell the shape of a network of masks."""
    front = _features(modules), _recurrent(modules)
    return shapes.MaskInference(*front, *_head(modules, "mask"))


def chimera(modules: Modules) -> shapes.Chimera:
    """Tell the shape of a network of both."""
    front = _features(modules), _recurrent(modules)
    return shapes.Chimera(*front, *_head(modules, "embedding"), *_head(modules, "mask"))


def end_to_end(modules: Modules) -> shapes.EndToEnd:
    """Tell the shape of a network of masks between two transforms."""
    network = mask_inference(modules)
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


def dual_path(modules: Modules) -> shapes.DualPath:
    """Tell the shape of a network of masks on learned filters."""
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


def _bank(modules: Modules, window: str, learned: bool) -> Arguments:
    known = dict.fromkeys(("num_filters", "filter_length", "hop_length"), REQUIRED)
    known |= {"requires_grad": learned, "direction": "transform"}
    fixed = {"window_type": window, "dilation": 1}
    bank = _arguments(modules, "audio", {**known, "window_type": "sqrt_hann"}, fixed)
    if bank.size("filter_length") % 2:
        raise bank.error("filter_length", "an even number")
    return bank


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
