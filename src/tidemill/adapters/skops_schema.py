"""What a skops file may say: the nodes of its schema, looked at before skops makes anything of them.

skops asks of each node whether its type is trusted, not what it does with it. A trusted type may be called with
whatever the file says (as a constructor, a list's class, a key's type), and a node that is referred to again is walked
again, so that a kilobyte takes years. So each kind of node may make the types that honest files make with it, and no
other; and what has the number of an earlier node must be written out again and be the same.
"""

import io
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from zipfile import ZipFile

Node = dict[str, Any]

_DEEPEST = 100
_OLDEST_PROTOCOL = 1
"""Of version 0 some nodes are written in another way; whoever has such files has them of a scikit-learn long gone."""
_OF_EVERY_NODE = frozenset(("__class__", "__module__", "__loader__", "__id__"))
_OF_THE_FIRST = frozenset(("protocol", "_skops_version"))
_BOOSTER = "lightgbm.basic.Booster"
_BOOSTER_TEXTS = ("_handle", "handle")
READING = ("filename", "file")
"""What a text vectorizer may be told that its input is, beside the texts themselves."""

MAKES: Mapping[str, frozenset[str]] = {
    "ObjectNode": frozenset((
        _BOOSTER,
        "lightgbm.sklearn.LGBMClassifier",
        "lightgbm.sklearn.LGBMRegressor",
        "sklearn._loss.loss.HalfTweedieLossIdentity",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.compose._column_transformer.make_column_selector",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.gaussian_process.kernels.ConstantKernel",
        "sklearn.gaussian_process.kernels.DotProduct",
        "sklearn.gaussian_process.kernels.Matern",
        "sklearn.gaussian_process.kernels.Product",
        "sklearn.gaussian_process.kernels.RBF",
        "sklearn.gaussian_process.kernels.RationalQuadratic",
        "sklearn.gaussian_process.kernels.Sum",
        "sklearn.gaussian_process.kernels.WhiteKernel",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.model_selection._split.KFold",
        "sklearn.model_selection._split.StratifiedKFold",
        "sklearn.multiclass._ConstantPredictor",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        "tidemill.training.transformers.BooleanNumbers",
        "tidemill.training.transformers.BoundedNumbers",
        "tidemill.training.transformers.DatetimeParts",
    )),
    "DictNode": frozenset(("collections.OrderedDict", "sklearn.utils._bunch.Bunch")),
    "DTypeNode": frozenset(("numpy.dtype",)),
    "FunctionNode": frozenset((
        "sklearn.feature_selection._univariate_selection.f_classif",
        "sklearn.feature_selection._univariate_selection.f_regression",
        "sklearn.utils.validation.check_array",
    )),
    "PartialNode": frozenset(("functools.partial",)),
    "SparseMatrixNode": frozenset(("scipy.sparse._csr.csr_array", "scipy.sparse._csr.csr_matrix")),
    "TreeNode": frozenset(("sklearn.tree._tree.Tree",)),
    "TypeNode": frozenset(("collections.OrderedDict",)),
}  # fmt: skip
"""Types beyond those that skops trusts by itself, by the only kind of node that may make them."""
TRUSTED_TYPES: tuple[str, ...] = tuple(sorted(set().union(*MAKES.values())))
"""All of them: what our own models may hold. A partial's function is a node of its own."""


class StrangeSchema(Exception):
    """The file says something that files of honest models do not say."""


@dataclass
class Contents:
    """file_bytes: of all members that are read. booster_texts: of LightGBM. reads_files: it holds a text vectorizer
    whose rows are names of files, which it would open and tell about."""

    file_bytes: int
    booster_texts: list[str]
    reads_files: bool


def read_contents(archive: ZipFile, schema: Any) -> Contents:
    """Raises StrangeSchema; KeyError for a member that is not there, ValueError for what cannot be read."""
    if not isinstance(schema, dict) or type(schema.get("protocol")) is not int:
        raise StrangeSchema
    if schema["protocol"] < _OLDEST_PROTOCOL:
        raise StrangeSchema
    walk = _Walk(archive)
    walk.look({key: value for key, value in schema.items() if key not in _OF_THE_FIRST}, _DEEPEST)
    return walk.found


class _Walk:
    """Numbers what it sees: two nodes have one number if, and only if, they are written alike but for their ids."""

    def __init__(self, archive: ZipFile) -> None:
        self._archive = archive
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._known: dict[int, int] = {}
        self.found = Contents(0, [], False)

    def look(self, node: Any, levels: int) -> int:
        kind = _KINDS.get(node.get("__loader__")) if isinstance(node, dict) else None
        if kind is None or levels == 0 or not _OF_EVERY_NODE | kind.keys >= set(node):
            raise StrangeSchema
        name = _name(node)
        children = tuple(self.look(child, levels - 1) for child in kind.children(node))
        seen = (node["__loader__"], name, kind.own(node), self._file(node) if "file" in kind.keys else None, children)
        number = self._numbers.setdefault(seen, len(self._numbers))
        if self._first_of(node, number):
            self._note(node, name)
        return number

    def _first_of(self, node: Node, number: int) -> bool:
        """Whether skops will make it anew. Raises if its id is another node's."""
        identity = node.get("__id__")
        if identity is None:
            return True
        if type(identity) is not int or self._known.get(identity, number) != number:
            raise StrangeSchema
        is_first = identity not in self._known
        self._known[identity] = number
        return is_first

    def _file(self, node: Node) -> tuple[int, int] | None:
        if "file" not in node:
            return None
        member = self._archive.getinfo(_text(node["file"]))
        return member.CRC, member.file_size

    def _note(self, node: Node, name: str) -> None:
        if "file" in node:
            self.found.file_bytes += self._unpacked(node)
        if node["__loader__"] == "DictNode":
            reading = node["content"].get("input")
            self.found.reads_files |= reading is not None and _is_reading(reading)
        if name == _BOOSTER:
            self.found.booster_texts += _booster_texts(node)

    def _unpacked(self, node: Node) -> int:
        """Bytes that a member becomes; a sparse matrix is an archive within the archive."""
        member = self._archive.getinfo(node["file"])
        if node["__loader__"] != "SparseMatrixNode":
            return member.file_size
        with ZipFile(io.BytesIO(self._archive.read(member))) as within:
            return member.file_size + sum(each.file_size for each in within.infolist())


def _name(node: Node) -> str:
    name = f"{_text(node.get('__module__'))}.{_text(node.get('__class__'))}"
    if name in TRUSTED_TYPES and name not in MAKES.get(node["__loader__"], ()):
        raise StrangeSchema
    return name


def _is_reading(node: Node) -> bool:
    """What is written as a plain JSON value that names neither of the two is none; all else may turn out to be one."""
    return node["__loader__"] != "JsonNode" or json.loads(node["content"]) in READING


def _booster_texts(node: Node) -> Iterator[str]:
    state = _members(node).get("content")
    attributes = state.get("content") if isinstance(state, dict) and state.get("__loader__") == "DictNode" else None
    if attributes is None:
        raise StrangeSchema
    for key in _BOOSTER_TEXTS:
        value = attributes.get(key)
        if value is not None and value["__loader__"] != "JsonNode":
            raise StrangeSchema
        if value is not None and (text := json.loads(value["content"])) is not None:
            yield _text(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise StrangeSchema
    return value


def _members(value: Any) -> Node:
    if not isinstance(value, dict):
        raise StrangeSchema
    return value


def _elements(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise StrangeSchema
    return value


def _nothing(_: Node) -> tuple[Any, ...]:
    return ()


def _one(node: Node) -> tuple[Any, ...]:
    return (node.get("content"),)


def _optional(node: Node) -> tuple[Any, ...]:
    return () if node.get("content") is None else (node["content"],)


def _each(node: Node) -> list[Any]:
    return _elements(node.get("content"))


def _named(*names: str) -> Callable[[Node], tuple[Any, ...]]:
    """Members of the content with these names, and no other; one with ``?`` may be missing."""

    def children(node: Node) -> tuple[Any, ...]:
        content, known = _members(node.get("content")), [name.rstrip("?") for name in names]
        if set(content) - set(known) or any(name not in content for name in names if not name.endswith("?")):
            raise StrangeSchema
        return tuple(content[name] for name in known if name in content)

    return children


def _of_dict(node: Node) -> tuple[Any, ...]:
    """Keys are made by calling the types that ``key_types`` lists, so these must be types and nothing else."""
    key_types = _members(node.get("key_types"))
    if key_types.get("__loader__") != "ListNode" or _name(key_types) != "builtins.list":
        raise StrangeSchema
    if any(_members(key).get("__loader__") != "TypeNode" for key in _each(key_types)):
        raise StrangeSchema
    return (key_types, *_members(node.get("content")).values())


def _of_partial(node: Node) -> tuple[Any, ...]:
    function, *rest = _named("func", "args", "kwds", "namespace")(node)
    if _members(function).get("__loader__") != "FunctionNode":
        raise StrangeSchema
    return (function, *rest)


def _of_array(node: Node) -> tuple[Any, ...]:
    if node.get("type") == "numpy" and "file" in node and not {"content", "shape"} & set(node):
        return ()
    if node.get("type") == "json" and "file" not in node:
        return (node.get("shape"), *_each(node))
    raise StrangeSchema


def _of_sparse(node: Node) -> tuple[Any, ...]:
    if node.get("type") != "scipy" or "file" not in node:
        raise StrangeSchema
    return ()


def _of_reduced(node: Node) -> tuple[Any, ...]:
    reduced = _members(node.get("__reduce__"))
    if set(reduced) != {"args"}:
        raise StrangeSchema
    return (reduced["args"], node.get("content"))


def _only_kind(_: Node) -> Any:
    return None


def _keys(node: Node) -> Any:
    return tuple(node["content"])


def _json(node: Node) -> Any:
    return _text(node.get("content"))


def _bounds(node: Node) -> Any:
    content = _members(node.get("content"))
    bounds = tuple(content.get(name) for name in ("start", "stop", "step"))
    if len(content) != len(bounds) or not all(bound is None or isinstance(bound, int) for bound in bounds):
        raise StrangeSchema
    return bounds


@dataclass(frozen=True)
class _Kind:
    """keys: beside those of every node. children: its nodes; own: all else that decides what it makes."""

    keys: frozenset[str]
    children: Callable[[Node], Any] = _nothing
    own: Callable[[Node], Any] = _only_kind


_CONTENT = frozenset(("content",))
_SEQUENCE = _Kind(_CONTENT, _each)
_REDUCED = _Kind(_CONTENT | {"__reduce__"}, _of_reduced)
_KINDS: Mapping[Any, _Kind] = {
    "JsonNode": _Kind(_CONTENT | {"is_json"}, own=_json),
    "ListNode": _SEQUENCE,
    "SetNode": _SEQUENCE,
    "TupleNode": _SEQUENCE,
    "DictNode": _Kind(_CONTENT | {"key_types"}, _of_dict, _keys),
    "DefaultDictNode": _Kind(_CONTENT, _named("main", "default_factory")),
    "SliceNode": _Kind(_CONTENT, own=_bounds),
    "TypeNode": _Kind(frozenset()),
    "FunctionNode": _Kind(frozenset()),
    "PartialNode": _Kind(_CONTENT, _of_partial),
    "BytesNode": _Kind(frozenset(("file",))),
    "ObjectNode": _Kind(_CONTENT, _optional),
    "NdArrayNode": _Kind(_CONTENT | {"file", "shape", "type"}, _of_array),
    "MaskedArrayNode": _Kind(_CONTENT, _named("data", "mask")),
    "DTypeNode": _Kind(_CONTENT, _one),
    "RandomStateNode": _Kind(_CONTENT, _one),
    "RandomGeneratorNode": _Kind(_CONTENT, _named("bit_generator", "seed_seq?")),
    "SparseMatrixNode": _Kind(frozenset(("file", "type")), _of_sparse),
    "TreeNode": _REDUCED,
    "LossNode": _REDUCED,
}
"""Without those that call what they find: methods, operators, constructors with arguments of the file."""
