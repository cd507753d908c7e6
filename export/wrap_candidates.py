"""Which tensors of a strange graph could be the embedding, and what they look like."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from math import prod

from edgemeta.errors import OptionError
from edgemeta.terminal import printable


def _codes(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Operators by what they do, as ONNX and as TFLite call them. RESHAPING: the same numbers come out.
RESHAPING = _codes(
    "Reshape Flatten Squeeze Unsqueeze Identity Dropout Transpose Cast QuantizeLinear DequantizeLinear "
    "RESHAPE SQUEEZE EXPAND_DIMS TRANSPOSE CAST QUANTIZE DEQUANTIZE"
)
SOFT = _codes("Softmax LogSoftmax Sigmoid SOFTMAX LOG_SOFTMAX LOGISTIC")
LINEAR = _codes(
    "Gemm MatMul Conv QLinearConv QLinearMatMul MatMulInteger ConvInteger FULLY_CONNECTED CONV_2D BATCH_MATMUL"
)
ADDING = frozenset(("Add", "ADD"))
# With a constant on one side: a bias, a temperature.
SHIFTING = _codes("Add Sub Mul Div ADD SUB MUL DIV")
POOLING = _codes(
    "GlobalAveragePool GlobalMaxPool AveragePool MaxPool ReduceMean ReduceMax ReduceSum "
    "AVERAGE_POOL_2D MAX_POOL_2D MEAN REDUCE_MAX SUM"
)
PICKING = _codes("Gather Slice GATHER SLICE STRIDED_SLICE")
# What a classifier's answer ends in.
ENDING = _codes("ArgMax TopK ARG_MAX TOPK_V2")
# They read the shape alone.
MEASURING = frozenset(("Shape", "Size", "SHAPE"))
# Numbers of classes that everybody trains with, and names that only classifiers give.
CLASSES = frozenset((100, 101, 102, 120, 196, 200, 365, 1000, 1001, 11221, 21841, 21843))
FEWEST = 30
NAMED_SO = re.compile(r"logit|predict|class|score|prob|softmax", re.IGNORECASE)

# From best to worst.
FEATURES, LINEAR_OUTPUT, LOGITS, SOFTMAX, INNER = "features", "linear output", "logits", "softmax", "inner"
TIERS = {FEATURES: 0, LINEAR_OUTPUT: 1, LOGITS: 2, SOFTMAX: 3, INNER: 4}
BAD = (LOGITS, SOFTMAX)


@dataclass(frozen=True)
class Node:
    """inputs and outputs: names of tensors, constants among them."""

    code: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """Nodes in the order in which they run. shapes: of every tensor that is computed and holds real numbers, quantised
    ones too, its first axis the images. strange: operators that the format does not have; shapes of what comes after
    them are not known."""

    nodes: tuple[Node, ...]
    input: str
    outputs: tuple[str, ...]
    shapes: dict[str, tuple[int, ...]]
    strange: tuple[str, ...] = ()


@dataclass(frozen=True)
class Candidate:
    """tensor: its name. shape: for one image. kind: one of the above; look: in more words."""

    tensor: str
    shape: tuple[int, ...]
    kind: str
    look: str
    is_output: bool

    @property
    def size(self) -> int:
        return prod(self.shape)


class Candidates:
    """All of a graph. `best` are those to show, best first, one of several that hold the same numbers."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.makers = {name: node for node in graph.nodes for name in node.outputs}
        self.readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in dict.fromkeys(node.inputs):
                self.readers.setdefault(name, []).append(node)
        self._from_input = self._reached()
        self._maps_below, self._linear_below = self._below()
        # From the last to the first, so that what the same numbers are called last comes first.
        order = [name for node in reversed(graph.nodes) for name in node.outputs if self.is_vector(name)]
        self.all = {name: self._candidate(name) for name in order}
        self.best = self._best()

    def chosen(self, tensor: str) -> Candidate:
        """The one of that name, or for "auto" the clearly best. Raises OptionError naming near ones."""
        if tensor == "auto":
            return self._clear()
        if tensor in self.all:
            return self.all[tensor]
        instead = f"; take '{printable(self.best[0].tensor)}'" if self.best else ""
        if tensor in self.graph.shapes and tensor in self.makers:
            shape = " x ".join(map(str, self.graph.shapes[tensor][1:])) or "1"
            raise OptionError(f"'{printable(tensor)}' is {shape} an image, no vector to learn from{instead}")
        if tensor in self.makers and self.graph.strange:
            raise OptionError(f"'{printable(tensor)}' cannot be taken{self._because()}{instead}")
        if tensor in self.makers:
            raise OptionError(f"'{printable(tensor)}' holds no real numbers{instead}")
        raise OptionError(f"there is no tensor '{printable(tensor)}' to cut at{self._near(tensor) or instead}")

    def _because(self) -> str:
        if not self.graph.strange:
            return ""
        names = ", ".join(map(printable, self.graph.strange))
        return f": the model needs operators that are not the format's own ({names}), which devices do not have"

    def better(self, found: Candidate) -> Candidate | None:
        """What should be taken instead of a classifier's answer."""
        return next((one for one in self.best if one.kind == FEATURES), None) if found.kind != FEATURES else None

    def is_vector(self, name: str) -> bool:
        """Whether it is computed from the image and has one axis besides the images'."""
        shape = self.graph.shapes.get(name, ())
        return name in self._from_input and len(shape) >= 2 and 2 <= prod(shape[1:]) == max(shape[1:])

    def _is_map(self, name: str) -> bool:
        shape = self.graph.shapes.get(name, ())
        return name in self._from_input and sum(size > 1 for size in shape[1:]) >= 2

    def _clear(self) -> Candidate:
        if not self.best:
            raise OptionError(f"no tensor of this model can be the embedding, a vector for each image{self._because()}")
        first = self.best[0]
        if first.kind != FEATURES or any(one.kind == LINEAR_OUTPUT for one in self.best):
            raise OptionError(
                "no tensor is clearly the best: a linear output may be an embedding or a classifier's logits. "
                f"Say which with --output, for instance --output '{printable(first.tensor)}'"
            )
        return first

    def _near(self, tensor: str) -> str:
        names = list(self.all)
        near = [name for name in names if tensor and tensor.lower() in name.lower()]
        near += [name for name in get_close_matches(tensor, names, 3, 0.5) if name not in near]
        return f"; near are {', '.join(repr(printable(name)) for name in near[:3])}" if near else ""

    def _reached(self) -> set[str]:
        found = {self.graph.input}
        for node in self.graph.nodes:
            if node.code not in MEASURING and found.intersection(node.inputs):
                found.update(node.outputs)
        return found

    def _below(self) -> tuple[set[str], set[str]]:
        """What maps are still made from, and what goes into linear layers, however many layers later."""
        maps: set[str] = set()
        linear: set[str] = set()
        for node in reversed(self.graph.nodes):
            if node.code in MEASURING:
                continue
            if any(name in maps or self._is_map(name) for name in node.outputs):
                maps.update(node.inputs)
            if node.code in LINEAR or linear.intersection(node.outputs):
                linear.update(node.inputs)
        return maps, linear

    def _origin(self, name: str) -> str:
        """The tensor that first held these numbers as a vector."""
        while (node := self.makers.get(name)) and node.code in RESHAPING and self.is_vector(node.inputs[0]):
            name = node.inputs[0]
        return name

    def _candidate(self, name: str) -> Candidate:
        kind, look = self._kind(self._origin(name))
        return Candidate(name, self.graph.shapes[name][1:], kind, look, name in self.graph.outputs)

    def _kind(self, name: str) -> tuple[str, str]:
        node = self.makers[name]
        if name in self._maps_below:
            return INNER, "inner: maps come after it"
        if node.code in SOFT and self._only_leads_to(name, frozenset()):
            return SOFTMAX, "sigmoid" if node.code in ("Sigmoid", "LOGISTIC") else "softmax"
        if self._only_leads_to(name, SOFT):
            return (LOGITS, "logits") if self._softened(name) else self._last(name)
        return FEATURES, self._look(name)

    def _last(self, name: str) -> tuple[str, str]:
        """Of a tensor that goes out as it is."""
        if not self._is_linear(name):
            return FEATURES, self._look(name)
        size = prod(self.graph.shapes[name][1:])
        names = {name, *(out for out in self.graph.outputs if self._origin(out) == name)}
        if size in CLASSES or size <= FEWEST or any(NAMED_SO.search(one) for one in names):
            return LOGITS, f"logits, it seems, of {size} classes"
        return LINEAR_OUTPUT, "linear output: an embedding, or logits"

    def _look(self, name: str) -> str:
        node = self.makers[name]
        of_map = any(self._is_map(source) for source in node.inputs)
        if node.code in POOLING and of_map:
            return "pooled features"
        if node.code in RESHAPING and of_map:
            return "flattened map"
        if node.code in PICKING and of_map:
            return "features of one place"
        if self._is_linear(name) and name in self._linear_below:
            return "hidden layer"
        return "features"

    def _is_linear(self, name: str) -> bool:
        node = self.makers[name]
        if node.code in ADDING:  # of a bias
            computed = [source for source in node.inputs if source in self._from_input]
            return len(computed) == 1 and computed[0] in self.makers and self.makers[computed[0]].code in LINEAR
        return node.code in LINEAR

    def _only_leads_to(self, name: str, codes: frozenset[str]) -> bool:
        """Whether it goes to outputs of the model, as it is or through one of `codes`, and nowhere else."""
        if name in self._linear_below:
            return False
        for node in self._data_readers(name):
            left = frozenset() if node.code in codes else codes
            if node.code not in codes and not self._passes(node):
                return False
            if not all(self._only_leads_to(out, left) for out in node.outputs):
                return False
        return True

    def _softened(self, name: str) -> bool:
        return any(
            node.code in SOFT or (self._passes(node) and any(map(self._softened, node.outputs)))
            for node in self._data_readers(name)
        )

    def _data_readers(self, name: str) -> list[Node]:
        return [node for node in self.readers.get(name, ()) if node.code not in MEASURING | ENDING]

    def _passes(self, node: Node) -> bool:
        """Whether it only moves numbers, or shifts and scales them."""
        computed = [source for source in node.inputs if source in self._from_input]
        return node.code in RESHAPING or (node.code in SHIFTING and len(computed) == 1)

    def _best(self) -> list[Candidate]:
        groups: dict[str, Candidate] = {}
        for candidate in self.all.values():
            origin = self._origin(candidate.tensor)
            if origin not in groups or (candidate.is_output and not groups[origin].is_output):
                groups[origin] = candidate
        # The order within a tier stays: later layers first, but what the model gives back before them.
        return sorted(groups.values(), key=lambda one: (TIERS[one.kind], not one.is_output))
