"""Files of honest formats that lie within: skops archives and LightGBM texts whose parts were changed."""

import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tests.unit.registry.hostile import NOT_LOADABLE, Attempt, Hostile

Node = dict[str, Any]


def _edit_archive(attempt: Attempt, change: Callable[[dict[str, bytes]], None]) -> None:
    file = next(file for file in attempt.directory.iterdir() if zipfile.is_zipfile(file))
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def _edit_schema(change: Callable[[Node], Any]) -> Callable[[Attempt], None]:
    def spoil(attempt: Attempt) -> None:
        def edit(members: dict[str, bytes]) -> None:
            schema = json.loads(members["schema.json"])
            change(schema)
            members["schema.json"] = json.dumps(schema).encode()

        _edit_archive(attempt, edit)

    return spoil


def _attributes(schema: Node) -> Node:
    content: Node = schema["content"]["content"]
    return content


def _plant(node: Node | Callable[[Node], Node]) -> Callable[[Attempt], None]:
    """The model has one attribute more: ``node``, or what it makes of the schema."""

    def change(schema: Node) -> None:
        _attributes(schema)["planted"] = node(schema) if callable(node) else node
        schema["content"]["key_types"]["content"].append(_type("builtins", "str"))

    return _edit_schema(change)


def _node(loader: str, name: str, **more: Any) -> Node:
    module, _, kind = name.rpartition(".")
    return {"__loader__": loader, "__module__": module, "__class__": kind, **more}


def _json(value: Any) -> Node:
    return _node("JsonNode", "builtins.str", content=json.dumps(value), is_json=True)


def _list(*nodes: Node, name: str = "builtins.list", **more: Any) -> Node:
    return _node("ListNode", name, content=list(nodes), **more)


def _tuple(*nodes: Node) -> Node:
    return _node("TupleNode", "builtins.tuple", content=list(nodes))


def _type(module: str, name: str) -> Node:
    return _node("TypeNode", f"{module}.{name}")


def _dict(key_types: Node | None = None, **members: Node) -> Node:
    types = key_types or _list(*(_type("builtins", "str") for _ in members))
    return _node("DictNode", "builtins.dict", content=members, key_types=types)


def _partial(func: Node, *args: Node) -> Node:
    content = {"func": func, "args": _tuple(*args), "kwds": _dict(), "namespace": _dict()}
    return _node("PartialNode", "functools.partial", content=content)


def _doubled(levels: int) -> Callable[[Node], Node]:
    """Each list holds the one below it twice: once written out, once by its number."""

    def make(_: Node) -> Node:
        node = _list(__id__=1)
        for level in range(2, levels):
            node = _list(node, {"__id__": level - 1}, __id__=level)
        return node

    return make


def _doubled_by_stubs(schema: Node) -> Node:
    """The second one looks like a node of its own, which skops passes over for the number's first."""
    node = _list(__id__=1)
    for level in range(2, 40):
        node = _list(node, _json(0) | {"__id__": level - 1}, __id__=level)
    return node


def _nested(schema: Node) -> Node:
    node = _list()
    for _ in range(300):
        node = _list(node)
    return node


_BOOSTER = "lightgbm.basic.Booster"
_READS = (_json(None), _json(None), _json("/etc/passwd"))
_OPENING = _partial(_type("lightgbm.basic", "Booster"), *_READS[:2])
_STATE = _node("DictNode", "builtins.dict", content={}, key_types=_list())


def _matrix_bomb(attempt: Attempt) -> None:
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.npy", b"")
    packed = bytearray(inner.getvalue())
    at = packed.rindex(b"PK\x01\x02") + 24
    packed[at : at + 4] = (2**32 - 2).to_bytes(4, "little")  # as a real one declares; it would take a while to write
    _plant(_node("SparseMatrixNode", "scipy.sparse._csr.csr_matrix", type="scipy", file="bomb.npz"))(attempt)
    _edit_archive(attempt, lambda members: members.update({"bomb.npz": bytes(packed)}))


SCHEMAS = (
    Hostile("a constructor with arguments of the file", "trees",
            _plant(_node("ConstructorFromReduceNode", _BOOSTER, content=_tuple(*_READS)))),
    Hostile("a list whose class is another's constructor", "trees", _plant(_list(name=_BOOSTER))),
    Hostile("a set whose class is another's constructor", "skops",
            _plant(_node("SetNode", "functools.partial", content=[]))),
    Hostile("a loss whose class is another's constructor", "trees",
            _plant(_node("LossNode", _BOOSTER, content=_dict(), __reduce__={"args": _tuple(*_READS)}))),
    Hostile("an array whose class is another's constructor", "skops",
            _plant(_node("NdArrayNode", _BOOSTER, type="json", content=[], shape=_tuple()))),
    Hostile("a key type that opens a file", "trees", _plant(_dict(_list(_OPENING), **{"/etc/passwd": _json(1)}))),
    Hostile("a key type that is another's constructor", "trees",
            _plant(_dict(_list(_type("lightgbm.basic", "Booster")), **{"/etc/passwd": _json(1)}))),
    Hostile("key types that are no list", "skops", _plant(_dict(_dict()))),
    Hostile("a partial of a constructor", "trees", _plant(_OPENING)),
    Hostile("a partial of a partial", "skops",
            _plant(_partial(_partial(_node("FunctionNode", "sklearn.utils.validation.check_array"))))),
    Hostile("a partial of a shell", "skops", _plant(_partial(_node("FunctionNode", "os.system"), _json("id")))),
    Hostile("a factory that is another's constructor", "skops",
            _plant(_node("DefaultDictNode", "collections.defaultdict",
                         content={"main": _dict(), "default_factory": _type("functools", "partial")}))),
    Hostile("a method", "skops",
            _plant(lambda schema: _node("MethodNode", "builtins.dict", content={"func": "pop", "obj": _dict()}))),
    Hostile("a chain of methods", "skops",
            _plant(_node("MethodNode", "builtins.list", content={"func": "__class__.__base__.__subclasses__",
                                                                 "obj": _list()}))),
    Hostile("an operator", "skops", _plant(_node("OperatorFuncNode", "operator.call", attrs=_tuple(_json(1))))),
    Hostile("an operator that gets attributes", "skops",
            _plant(_node("OperatorFuncNode", "operator.attrgetter", attrs=_tuple(_json("__globals__"))))),
    Hostile("a function of an old protocol", "skops", _edit_schema(lambda schema: schema.update(protocol=0))),
    Hostile("no protocol", "skops", _edit_schema(lambda schema: schema.pop("protocol"))),
    Hostile("a protocol that is true", "skops", _edit_schema(lambda schema: schema.update(protocol=True))),
    Hostile("a kind of node nobody knows", "skops", _plant(_node("PickleNode", "builtins.dict", content="x"))),
    Hostile("a node that refers to another", "skops", _plant(_node("CachedNode", "builtins.dict", __id__=1))),
    Hostile("a node with more than its kind has", "skops", _plant({**_json(1), "file": "schema.json"})),
    Hostile("a node that is a number alone", "skops",
            _plant(lambda schema: {"__id__": schema["content"]["__id__"]})),
    Hostile("a number of two nodes", "skops", _plant(lambda schema: {**_json(1), "__id__": schema["__id__"]})),
    Hostile("lists that double forty times", "skops", _plant(_doubled(40))),
    Hostile("lists that double by what looks new", "skops", _plant(_doubled_by_stubs)),
    Hostile("lists within lists", "skops", _plant(_nested), NOT_LOADABLE),
    Hostile("a generator of another name", "skops",
            _plant(_node("RandomGeneratorNode", "numpy.random._generator.Generator",
                         content={"bit_generator": _dict(bit_generator=_json("seed")), "seed_seq": _dict()}))),
    Hostile("a module as a type", "skops", _plant(_type("os", "system"))),
    Hostile("a type of an inner class", "skops", _plant(_type("builtins", "object.__subclasses__"))),
    Hostile("a booster whose text is made", "trees",
            _plant(_node("ObjectNode", _BOOSTER, content=_dict(_handle=_dict(encode=_type("builtins", "bool")))))),
    Hostile("a booster without attributes", "trees", _plant(_node("ObjectNode", _BOOSTER))),
    Hostile("an array that is a pickle", "skops", lambda attempt: _edit_archive(attempt, _pickled_array), NOT_LOADABLE),
    Hostile("an array larger than all memory", "skops", lambda attempt: _edit_archive(attempt, _vast_array),
            NOT_LOADABLE),
    Hostile("an array that is not there", "skops",
            _plant(_node("NdArrayNode", "numpy.ndarray", type="numpy", file="x")), NOT_LOADABLE),
    Hostile("a matrix that unpacks to much", "skops", _matrix_bomb, "model_too_large"),
)  # fmt: skip


def _arrays(members: dict[str, bytes]) -> Iterator[str]:
    return (name for name in members if name.endswith(".npy"))


def _pickled_array(members: dict[str, bytes]) -> None:
    out = io.BytesIO()
    np.save(out, np.array([{}, None], dtype=object), allow_pickle=True)
    for name in list(_arrays(members)):
        members[name] = out.getvalue()


def _vast_array(members: dict[str, bytes]) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    for name in list(_arrays(members)):
        members[name] = b"\x93NUMPY\x01\x00" + (len(header) + 1).to_bytes(2, "little") + header + b"\n"


def _edit_nodes(field: str, value: int) -> Callable[[Attempt], None]:
    """Of every tree of a forest, in its inner nodes."""

    def change(members: dict[str, bytes]) -> None:
        for name in list(_arrays(members)):
            array = np.load(io.BytesIO(members[name]))
            if array.dtype.names and field in array.dtype.names:
                array[field][array["left_child"] != -1] = value
                out = io.BytesIO()
                np.save(out, array)
                members[name] = out.getvalue()

    return lambda attempt: _edit_archive(attempt, change)


def _set_attribute(name: str, value: Any) -> Callable[[Attempt], None]:
    return _edit_schema(lambda schema: _attributes(schema).update({name: _json(value)}))


def _text(pattern: str, replacement: str) -> Callable[[Attempt], None]:
    """Of a LightGBM text; the sizes of its trees are told anew."""

    def spoil(attempt: Attempt) -> None:
        file = attempt.directory / "model.lgb"
        changed, count = re.subn(rf"(?m)^{pattern}$", replacement, file.read_text(), count=1)
        assert count, pattern
        file.write_text(_resized(changed))

    return spoil


def _resized(text: str) -> str:
    head, *trees = re.split(r"(?m)^(?=Tree=|end of trees)", text)
    sizes = " ".join(str(len(tree)) for tree in trees[:-1])
    return re.sub(r"(?m)^tree_sizes=(?!kept).*$", f"tree_sizes={sizes}", head) + "".join(trees)


def _sizes(value: str) -> Callable[[Attempt], None]:
    def spoil(attempt: Attempt) -> None:
        file = attempt.directory / "model.lgb"
        file.write_text(re.sub(r"(?m)^tree_sizes=.*$", f"tree_sizes={value}", file.read_text()))

    return spoil


TEXTS: tuple[tuple[str, Callable[[Attempt], None]], ...] = (
    ("more classes than answers have room for", _text("objective=.*", "objective=multiclass num_class:1000000")),
    ("more trees for each round than classes", _text("num_tree_per_iteration=1", "num_tree_per_iteration=900")),
    ("no trees for each round", _text("num_tree_per_iteration=1", "num_tree_per_iteration=0")),
    ("no class", _text("num_class=1", "num_class=0")),
    ("a class count twice", _text("num_class=1", "num_class=1\nnum_class=900")),
    ("trees in a circle", _text(r"left_child=\S+ (.*)", r"left_child=0 \1")),
    ("a child beyond its tree", _text(r"left_child=\S+ (.*)", r"left_child=2000000 \1")),
    ("a leaf beyond its tree", _text(r"right_child=\S+ (.*)", r"right_child=-2000000 \1")),
    ("a feature beyond the row", _text(r"split_feature=\S+ (.*)", r"split_feature=90000000 \1")),
    ("a feature below the row", _text(r"split_feature=\S+ (.*)", r"split_feature=-1 \1")),
    ("fewer children than nodes", _text(r"left_child=\S+ (.*)", r"left_child=\1")),
    ("a category without a bitmap", _text(r"decision_type=\S+ (.*)", r"decision_type=1 \1")),
    ("a linear tree without numbers", _text("is_linear=0", "is_linear=1")),
    ("more leaves than there are", _text(r"num_leaves=\d+", "num_leaves=2000000000")),
    ("a line that ends in another way", _text("num_cat=0", "num_cat=0\rnum_leaves=9")),
    ("sizes that lead elsewhere", _sizes("99999999 5")),
    ("negative sizes", _sizes("-5 5")),
    ("no sizes", _sizes("")),
)

FILES = (
    *SCHEMAS,
    *(Hostile(f"LightGBM's text with {name}", "booster", spoil, NOT_LOADABLE) for name, spoil in TEXTS),
    Hostile("a forest in a circle", "skops", _edit_nodes("left_child", 0), NOT_LOADABLE),
    Hostile("a forest that leads out", "skops", _edit_nodes("right_child", 2**40), NOT_LOADABLE),
    Hostile("a forest that asks for a feature beyond the row", "skops", _edit_nodes("feature", 2**40), NOT_LOADABLE),
    Hostile("a forest for wider rows than it says", "skops", _set_attribute("n_features_in_", 1), NOT_LOADABLE),
)
