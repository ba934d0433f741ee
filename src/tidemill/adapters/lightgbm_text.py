"""LightGBM's model text, looked at before LightGBM reads it.

LightGBM believes what the text says: how many classes an answer has room for, where a node's children are, which
feature it asks. A text that lies makes it write and read beyond its arrays, or go round in a circle for ever. So
everything that becomes a place in an array is compared here with the array; numbers that are only added up are not.
"""

import re
from itertools import pairwise

_TREE = b"Tree="
_NO_LINES = re.compile(rb"[\r\0]")
"""LightGBM ends lines at these too; it writes neither."""
_NUMBER = re.compile(rb"-?[0-9]{1,9}")
_MOST_CLASSES = 100_000
_OF_NODES = ("split_feature", "threshold", "decision_type", "left_child", "right_child")
_CATEGORICAL = 1

Pairs = dict[bytes, bytes]


class UnsoundText(Exception):
    """It is no text that LightGBM wrote."""


def check_text(text: bytes) -> None:
    """Raises UnsoundText."""
    start = text.find(b"\n" + _TREE) + 1
    if not text.startswith(b"tree\n") or not start or _NO_LINES.search(text):
        raise UnsoundText
    header = _pairs(text[len(b"tree\n") : start])
    _check_classes(header)
    features = 1 + _number(header, b"max_feature_idx")
    sizes = _numbers(header.get(b"tree_sizes", b""))
    if not sizes or min(sizes) <= 0 or start + sum(sizes) > len(text):
        raise UnsoundText
    for size in sizes:
        tree = text[start : start + size]
        if not tree.startswith(_TREE):
            raise UnsoundText
        _check_tree(_pairs(tree.partition(b"\n\n")[0]), features)
        start += size


def _pairs(lines: bytes) -> Pairs:
    """What stands before and after the first ``=`` of each line. Of a name that stands twice one would be missed."""
    found: Pairs = {}
    for line in filter(None, lines.split(b"\n")):
        name, _, value = line.partition(b"=")
        if name in found:
            raise UnsoundText
        found[name] = value
    return found


def _check_classes(header: Pairs) -> None:
    classes = _number(header, b"num_class")
    told = [part for part in header.get(b"objective", b"").split(b" ") if part.startswith(b"num_class")]
    if not 1 <= classes <= _MOST_CLASSES or _number(header, b"num_tree_per_iteration") != classes:
        raise UnsoundText
    if any(part != b"num_class:%d" % classes for part in told):
        raise UnsoundText


def _check_tree(tree: Pairs, features: int) -> None:
    leaves = _number(tree, b"num_leaves")
    if leaves < 1 or len(tree.get(b"leaf_value", b"").split()) != leaves:
        raise UnsoundText
    if leaves > 1:
        nodes = leaves - 1
        if any(len(tree.get(name.encode(), b"").split()) != nodes for name in _OF_NODES):
            raise UnsoundText
        for side in (b"left_child", b"right_child"):
            _check_children(_numbers(tree[side]), leaves)
        if not all(0 <= feature < features for feature in _numbers(tree[b"split_feature"])):
            raise UnsoundText
        _check_categories(tree)
    if _numbers(tree.get(b"is_linear", b"0")) != [0]:
        _check_linear(tree, leaves, features)


def _check_children(children: list[int], leaves: int) -> None:
    """A node is made after its parent, so its number is greater; a leaf is written as what is left of -1."""
    for node, child in enumerate(children):
        if not node < child < leaves - 1 and not 0 <= ~child < leaves:
            raise UnsoundText


def _check_categories(tree: Pairs) -> None:
    """The threshold of a categorical node is the number of a bitmap, whose words lie between two bounds."""
    count = _number(tree, b"num_cat")
    bounds = _numbers(tree.get(b"cat_boundaries", b""))
    words = len(tree.get(b"cat_threshold", b"").split())
    if count < 0 or (count and len(bounds) != count + 1):
        raise UnsoundText
    if bounds and (bounds[0] != 0 or bounds[-1] > words or any(one > next_ for one, next_ in pairwise(bounds))):
        raise UnsoundText
    kinds = _numbers(tree[b"decision_type"])
    for kind, threshold in zip(kinds, tree[b"threshold"].split(), strict=True):
        if kind & _CATEGORICAL and not (_NUMBER.fullmatch(threshold) and 0 <= int(threshold) < count):
            raise UnsoundText


def _check_linear(tree: Pairs, leaves: int, features: int) -> None:
    counts, used = (_numbers(tree.get(name, b"")) for name in (b"num_features", b"leaf_features"))
    sizes = {name: len(tree.get(name, b"").split()) for name in (b"leaf_const", b"leaf_coeff")}
    if len(counts) != leaves or sizes[b"leaf_const"] != leaves or min(counts) < 0:
        raise UnsoundText
    if sum(counts) != len(used) or len(used) != sizes[b"leaf_coeff"]:
        raise UnsoundText
    if not all(0 <= feature < features for feature in used):
        raise UnsoundText


def _number(pairs: Pairs, name: bytes) -> int:
    found = _numbers(pairs.get(name, b""))
    if len(found) != 1:
        raise UnsoundText
    return found[0]


def _numbers(value: bytes) -> list[int]:
    parts = value.split()
    if not all(map(_NUMBER.fullmatch, parts)):
        raise UnsoundText
    return list(map(int, parts))
