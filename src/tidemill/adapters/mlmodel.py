"""The file ``MLmodel`` of a model directory, read so that everybody who reads it sees the same.

The directory comes from somebody else. YAML lets one key stand twice, lets a short file grow by references to its own
parts, and names Python objects in tags; a folder can hold links that lead out of it and names that look like others.
None of that occurs in what MLflow writes, so all of it is refused.
"""

import json
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tidemill.kit.errors import Invalid, Malformed, NotFound, TooLarge
from tidemill.kit.json_shape import ShapeLimits, check_shape
from tidemill.kit.trees import MAX_DEPTH, tree_size

MLMODEL_FILE = "MLmodel"

_MAX_MLMODEL_BYTES = 4 * 2**20
_MAX_JSON_BYTES = 16 * 2**20
_JSON_SHAPE = ShapeLimits(values=1_000_000, depth=64, number_characters=400)
_MAX_DEPTH = 32
_MAX_EVENTS = 100_000
_MAX_NUMBER_CHARACTERS = 400
_MAX_ENTRIES = 20_000
_PLAIN_TAGS = "tag:yaml.org,2002:"
_Reader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""libyaml's, where the package brings it: the one in Python takes minutes for the largest file that is read."""


@dataclass(frozen=True)
class ModelCard:
    """The file ``MLmodel`` of a model directory, and the names of all files there."""

    directory: Path
    content: dict[str, Any]
    files: tuple[str, ...]

    @property
    def pyfunc(self) -> dict[str, Any]:
        return dict(self.content["flavors"]["python_function"])

    def flavor(self, name: str) -> dict[str, Any]:
        """A flavor's section; empty without one."""
        return dict(self.content["flavors"].get(name) or {})


def read_card(directory: Path) -> ModelCard:
    """Raises NotFound without ``MLmodel``, Invalid if it is damaged or has no ``python_function`` flavor.

    Raises Invalid (``model_file_unsafe``) for links, devices, and names that cannot be seen as what they are.
    """
    files = _plain_files(directory)
    file = directory / MLMODEL_FILE
    if not file.is_file():
        raise NotFound("model_file_missing", f"The model directory holds no {MLMODEL_FILE}.")
    content = _parsed(_bounded(file, _MAX_MLMODEL_BYTES))
    flavors = content.get("flavors")
    if not isinstance(flavors, dict) or not all(isinstance(section, dict) for section in flavors.values()):
        raise _unreadable()
    if "python_function" not in flavors:
        raise Invalid("pyfunc_missing", "The model has no python_function flavor, so nothing can predict with it.")
    return ModelCard(directory, content, files)


def read_json(file: Path) -> Any:
    """A JSON file of a model. Raises ValueError if it is none or nested too deeply, TooLarge past 16 MiB or a million
    values."""
    content = _bounded(file, _MAX_JSON_BYTES)
    try:
        check_shape(content, _JSON_SHAPE)
    except Malformed:
        raise ValueError("no JSON that a table is written in") from None
    except TooLarge:
        raise TooLarge("model_file_too_large", "A file that describes the model holds too many values.") from None
    return parse_json(content.decode("utf-8"))


def parse_json(text: str | bytes) -> Any:
    """Raises ValueError for text that is no JSON, or nested deeper than the interpreter can follow.

    Bytes may be of any encoding that the standard library's reader takes.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def file_inside(directory: Path, name: Any) -> Path:
    """The file that ``name`` means in a directory that `read_card` has read.

    Raises Invalid if the name leads out of the directory, or there is no such file.
    """
    parts = str(name).split("/") if isinstance(name, str) else []
    file = directory.joinpath(*parts)
    if not parts or not all(parts) or {".", ".."} & set(parts) or file.is_symlink() or not file.is_file():
        raise Invalid("model_file_missing", "The model names a file that is not in its folder.")
    if not file.resolve().is_relative_to(directory.resolve()):
        raise Invalid("model_file_missing", "The model names a file that is not in its folder.")
    return file


def _plain_files(directory: Path) -> tuple[str, ...]:
    files: list[str] = []
    if not tree_size(directory, _MAX_ENTRIES).is_whole:
        raise Invalid("model_file_unsafe", f"The folders of a model lie at most {MAX_DEPTH} deep.")
    for count, path in enumerate(directory.rglob("*"), start=1):
        name = path.relative_to(directory).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()) or not _is_visible(name):
            raise Invalid(
                "model_file_unsafe", "A model directory may hold files and folders only, no links and no hidden names."
            )
        if path.is_file():
            files.append(name)
        if count > _MAX_ENTRIES:
            raise TooLarge("model_too_large", f"A model directory holds at most {_MAX_ENTRIES} files and folders.")
    return tuple(sorted(files))


def _is_visible(name: str) -> bool:
    return name.isprintable() and "\\" not in name


def _bounded(file: Path, limit_bytes: int) -> bytes:
    with file.open("rb") as stream:
        content = stream.read(limit_bytes + 1)
    if len(content) > limit_bytes:
        raise TooLarge("model_file_too_large", f"A file that describes the model has more than {limit_bytes} bytes.")
    return content


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        text = content.decode("utf-8")
        _refuse_tricks(text)
        found = yaml.load(text, Loader=_StrictLoader)  # noqa: S506 - a SafeLoader
    except Exception:  # noqa: BLE001 - PyYAML raises whatever its conversions of odd values meet
        raise _unreadable() from None
    if not isinstance(found, dict):
        raise _unreadable()
    return found


def _refuse_tricks(text: str) -> None:
    """Before anything is built from it: references, tags, depth, how much it is, a second document."""
    depth = documents = 0
    for count, event in enumerate(yaml.parse(text, Loader=_Reader)):
        documents += isinstance(event, yaml.DocumentStartEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        tag = getattr(event, "tag", None)
        refers = isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None
        too_much = depth > _MAX_DEPTH or documents > 1 or count > _MAX_EVENTS
        if refers or too_much or (tag and not str(tag).startswith(_PLAIN_TAGS)):
            raise ValueError("a construct that MLflow does not write")


def _short(construct: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Of numbers to the base 60, which YAML has, the time grows with the square of their length."""

    def checked(loader: Any, node: Any) -> Any:
        if len(node.value) > _MAX_NUMBER_CHARACTERS:
            raise ValueError("a number that is too long")
        return construct(loader, node)

    return checked


class _StrictLoader(_Reader):  # type: ignore[misc]
    """Keys are texts and stand once. A merge key (``<<``) would be a second way to write one."""

    yaml_constructors = _Reader.yaml_constructors | {
        f"{_PLAIN_TAGS}{kind}": _short(_Reader.yaml_constructors[f"{_PLAIN_TAGS}{kind}"]) for kind in ("int", "float")
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        plain = all(key.tag == f"{_PLAIN_TAGS}str" for key, _ in node.value)
        if not plain or len(set(keys)) != len(keys):
            raise ValueError("a key that is no text or stands twice")
        return dict(super().construct_mapping(node, deep=deep))


def _unreadable() -> Invalid:
    return Invalid("mlmodel_unreadable", f"The model's {MLMODEL_FILE} cannot be read.")
