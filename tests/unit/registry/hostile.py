"""Model directories that try to run code, or to be read in two ways. Each begins as a copy of an honest one."""

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
import yaml
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

PERMISSION = "pickle_not_allowed"
UNREADABLE = "mlmodel_unreadable"
MISSING = "model_file_missing"
UNSAFE = "model_file_unsafe"
NOT_LOADABLE = "model_not_loadable"
TOO_LARGE = "model_file_too_large"


@dataclass(frozen=True)
class Attempt:
    """A copy of an honest model to be spoilt, and the file that exists once code of its maker ran."""

    directory: Path
    canary: Path

    @property
    def card(self) -> Path:
        return self.directory / "MLmodel"

    def edit(self, **changes: dict[str, Any]) -> None:
        """Update a flavor's section; ``top`` means the whole file."""
        content = yaml.safe_load(self.card.read_text())
        for name, values in changes.items():
            (content if name == "top" else content["flavors"].setdefault(name, {})).update(values)
        self.card.write_text(yaml.safe_dump(content))

    def drop(self, flavor: str, key: str) -> None:
        content = yaml.safe_load(self.card.read_text())
        del content["flavors"][flavor][key]
        self.card.write_text(yaml.safe_dump(content))

    def pickle(self, name: str) -> None:
        file = self.directory / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(pickle.dumps(_Payload(str(self.canary))))

    def code(self, name: str) -> None:
        file = self.directory / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(f"open({str(self.canary)!r}, 'w')\ndef _load_pyfunc(path):\n    return None\n")

    def say(self, text: str) -> None:
        self.card.write_text(text)


class _Payload:
    def __init__(self, canary: str) -> None:
        self._canary = canary

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self._canary),)


@dataclass(frozen=True)
class Hostile:
    name: str
    base: str
    spoil: Callable[[Attempt], Any]
    code: str = PERMISSION


def _data_beside(attempt: Attempt) -> None:
    attempt.pickle("sub/weights.bin")
    attempt.edit(python_function={"data": "sub/weights.bin"})


def _data_with_card(attempt: Attempt) -> None:
    attempt.pickle("sub/model.pkl")
    (attempt.directory / "sub" / "MLmodel").write_text(
        "flavors: {python_function: {model_path: model.pkl}, sklearn: {serialization_format: pickle}}"
    )
    attempt.edit(python_function={"data": "sub"})


def _own_trust_list(attempt: Attempt) -> None:
    skops.io.dump(FunctionTransformer(os.system), attempt.directory / "model.skops")
    attempt.edit(sklearn={"skops_trusted_types": ["posix.system", "nt.system"]})


def _own_trust_list_in_data(attempt: Attempt) -> None:
    skops.io.dump(FunctionTransformer(os.system), attempt.directory / "other.skops")
    attempt.edit(sklearn={"skops_trusted_types": ["posix.system"]}, python_function={"data": "other.skops"})


def _pickle_under_another_name(attempt: Attempt) -> None:
    attempt.pickle("model.skops")


def _pickle_format(value: Any) -> Callable[[Attempt], None]:
    def spoil(attempt: Attempt) -> None:
        attempt.pickle("model.skops")
        attempt.edit(sklearn={"serialization_format": value})

    return spoil


def _no_format(attempt: Attempt) -> None:
    attempt.pickle("model.skops")
    attempt.drop("sklearn", "serialization_format")


def _no_section(attempt: Attempt) -> None:
    content = yaml.safe_load(attempt.card.read_text())
    del content["flavors"]["sklearn"]
    attempt.say(yaml.safe_dump(content))
    attempt.pickle("model.skops")


def _loader(module: Any, **changes: Any) -> Callable[[Attempt], None]:
    def spoil(attempt: Attempt) -> None:
        for name in ("python_model.pkl", "model.pkl", "model.onnx", "model.xgb"):
            attempt.pickle(name)
        attempt.code("hostile_loader.py")
        attempt.code("code/hostile_loader.py")
        attempt.edit(python_function={"loader_module": module, **changes})

    return spoil


def _code(flavor: str, key: str, value: Any = "code") -> Callable[[Attempt], None]:
    def spoil(attempt: Attempt) -> None:
        attempt.code("code/skops/__init__.py")
        attempt.code("code/sklearn.py")
        attempt.edit(**{flavor: {key: value}})

    return spoil


def _set(flavor: str, **values: Any) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.edit(**{flavor: values})


def _file(name: str) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.code(name)


def _long_file(name: str) -> Callable[[Attempt], Any]:
    return lambda attempt: (attempt.directory / name).write_text("- a\n" * 2**17)


def _other_file(path: str, *, both: bool = True) -> Callable[[Attempt], None]:
    """Both flavors name ``path``, or the one that MLflow's loader reads alone."""

    def spoil(attempt: Attempt) -> None:
        attempt.pickle("other.skops")
        attempt.pickle("../outside.skops")
        attempt.edit(python_function={"model_path": path})
        if both:
            attempt.edit(sklearn={"pickled_model": path})

    return spoil


def _link(name: str, target: str) -> Callable[[Attempt], None]:
    def spoil(attempt: Attempt) -> None:
        attempt.pickle("../outside.skops")
        link = attempt.directory / name
        link.unlink(missing_ok=True)
        link.symlink_to(target)

    return spoil


def _twice(attempt: Attempt) -> None:
    attempt.pickle("other.pkl")
    line = "    model_path: model.skops\n"
    text = attempt.card.read_text()
    assert line in text
    attempt.say(text.replace(line, line + line.replace("model.skops", "other.pkl")))


def _add(text: str) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.say(attempt.card.read_text() + text)


def _say(text: str) -> Callable[[Attempt], None]:
    return lambda attempt: attempt.say(text)


def _bomb(attempt: Attempt) -> None:
    lines = ["a: &a0 [x, x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    attempt.say("\n".join(lines) + "\n" + attempt.card.read_text())


def _nested(attempt: Attempt) -> None:
    (attempt.directory / "deeper").mkdir()
    (attempt.directory / "deeper" / "MLmodel").write_text(attempt.card.read_text())


def _archive_bomb(attempt: Attempt) -> None:
    file = attempt.directory / "model.skops"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("schema.json", "w") as member:
        for _ in range(257):
            member.write(b" " * 2**20)


def _file_reader(attempt: Attempt) -> None:
    secret = attempt.canary.with_name("secret.txt")
    secret.write_text("secret text")
    model = make_pipeline(CountVectorizer(input="filename"), LogisticRegression())
    skops.io.dump(model.fit([str(secret), str(secret)], [0, 1]), attempt.directory / "model.skops")


def _changed_file_reader(change: Callable[[str], str]) -> Callable[[Attempt], None]:
    def make(attempt: Attempt) -> None:
        _file_reader(attempt)
        file = attempt.directory / "model.skops"
        with zipfile.ZipFile(file) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        schema = members["schema.json"].decode()
        members["schema.json"] = change(schema).encode()
        assert members["schema.json"] != schema.encode()
        with zipfile.ZipFile(file, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)

    return make


def _escaped(schema: str) -> str:
    return schema.replace(r'"\"filename\""', r'"\"file\\u006eame\""')


def _under_another_number(schema: str) -> str:
    """The value that says ``content`` has the number of an earlier one that says ``filename``, which is then taken."""
    found = json.loads(schema)
    attributes = found["content"]["content"]["steps"]["content"][0]["content"][1]["content"]["content"]
    reading = dict(attributes["input"])
    changed = {"a": reading, **attributes, "input": {**reading, "content": '"content"'}}
    attributes.clear()
    attributes.update(changed)
    return json.dumps(found)


def _pickled_class(attempt: Attempt) -> None:
    attempt.pickle("model.lgb")
    attempt.edit(lightgbm={"model_class": "lightgbm.sklearn.LGBMClassifier", "serialization_format": "cloudpickle"})


def _pickled_class_of_nothing(attempt: Attempt) -> None:
    attempt.pickle("model.lgb")
    attempt.edit(lightgbm={"model_class": None})
    attempt.drop("lightgbm", "serialization_format")


def _booster_beside(attempt: Attempt) -> None:
    attempt.pickle("other.lgb")
    attempt.edit(lightgbm={"data": "other.lgb"})


def _booster_below(attempt: Attempt) -> None:
    attempt.pickle("sub/model.lgb")
    attempt.edit(lightgbm={"data": "sub/model.lgb"}, python_function={"data": "sub/model.lgb"})


HOSTILE = (
    Hostile("a pickle in data without an MLmodel beside it", "skops", _data_beside),
    Hostile("a folder in data with an MLmodel of its own", "skops", _data_with_card),
    Hostile("data that names the model's own folder", "skops", _set("python_function", data=".")),
    Hostile("a trust list of its maker", "skops", _own_trust_list),
    Hostile("a trust list of its maker for a file in data", "skops", _own_trust_list_in_data),
    Hostile("a pickle named skops", "skops", _pickle_under_another_name, NOT_LOADABLE),
    Hostile("format pickle", "skops", _pickle_format("pickle")),
    Hostile("format cloudpickle", "skops", _pickle_format("cloudpickle")),
    Hostile("format in a list", "skops", _pickle_format(["skops"])),
    Hostile("format with a space", "skops", _pickle_format("skops ")),
    Hostile("no format, which means pickle", "skops", _no_format),
    Hostile("no section of the library, which means pickle", "skops", _no_section),
    Hostile("format skops for a class of LightGBM that is pickled", "booster", _pickled_class),
    Hostile("no class of LightGBM, which means pickle", "booster", _pickled_class_of_nothing),
    Hostile("LightGBM's two flavors disagree", "booster", _booster_beside),
    Hostile("LightGBM's file in a folder", "booster", _booster_below),
    Hostile("a pickle as LightGBM's text", "booster", lambda attempt: attempt.pickle("model.lgb")),
    Hostile("a Python model", "skops", _loader("mlflow.pyfunc.model", python_model="python_model.pkl")),
    Hostile("a module of its own", "skops", _loader("hostile_loader", code="code")),
    Hostile("a module that is a list", "skops", _loader(["mlflow.sklearn"])),
    Hostile("a module of the standard library", "skops", _loader("os")),
    Hostile("a loader below an accepted one", "skops", _loader("mlflow.sklearn.utils")),
    Hostile("no loader", "skops", lambda attempt: attempt.drop("python_function", "loader_module")),
    *(
        Hostile(f"the loader of {name}", "skops", _loader(f"mlflow.{name}", data="model.pkl"))
        for name in ("catboost", "h2o", "keras", "langchain", "onnx", "prophet", "pytorch", "spacy", "spark",
                     "statsmodels", "tensorflow", "transformers", "xgboost")
    ),
    Hostile("ONNX with weights outside", "skops", _loader("mlflow.onnx", data="../../outside.onnx")),
    Hostile("code in python_function", "skops", _code("python_function", "code")),
    Hostile("code in the library's section", "skops", _code("sklearn", "code")),
    Hostile("code in a list", "skops", _code("python_function", "code", ["code"])),
    Hostile("code_path", "skops", _code("python_function", "code_path")),
    Hostile("code_paths for the whole", "skops", _code("top", "code_paths")),
    Hostile("model_code_path", "skops", _code("python_function", "model_code_path", "code/sklearn.py")),
    Hostile("code for LightGBM", "booster", _code("lightgbm", "code")),
    Hostile("config as a file", "skops", _set("python_function", config="config.yaml")),
    Hostile("config as values", "skops", _set("python_function", config={"hooks": ["os.system"]})),
    Hostile("model_config", "skops", _set("python_function", model_config={"a": 1})),
    Hostile("artifacts", "skops", _set("python_function", artifacts={"a": {"path": "a", "uri": "file:///etc"}})),
    Hostile("a stream function", "skops", _set("python_function", streamable=True, predict_stream_fn="fit")),
    Hostile("a predict_fn that fits", "skops", _set("python_function", predict_fn="fit")),
    Hostile("a predict_fn that is private", "skops", _set("python_function", predict_fn="__reduce__")),
    Hostile("a predict_fn that is a list", "skops", _set("python_function", predict_fn=["predict"])),
    Hostile("a predict_fn of LightGBM", "booster", _set("python_function", predict_fn="save_model")),
    Hostile("resources", "skops", _set("top", resources={"databricks": {"uc_connection": [{"name": "x"}]}})),
    Hostile("an auth policy", "skops", _set("top", auth_policy={"system_auth_policy": {"resources": []}})),
    Hostile("prompts", "skops", _set("top", prompts=["prompts:/x/1"])),
    Hostile("a type hint", "skops", _set("top", type_hint_from_example=True)),
    Hostile("a key nobody knows", "skops", _set("top", loader="os")),
    Hostile("another flavor", "skops", _set("pytorch", model_data="data")),
    Hostile("two flavors disagree", "skops", _other_file("other.skops", both=False)),
    Hostile("a file outside", "skops", _other_file("../outside.skops"), MISSING),
    Hostile("a way out and in again", "skops", _other_file("sub/../model.skops"), MISSING),
    Hostile("an absolute file", "skops", _other_file("/etc/hostname"), MISSING),
    Hostile("a file that is the folder", "skops", _other_file("."), MISSING),
    Hostile("a file with a zero byte", "skops", _other_file("model.skops\0"), MISSING),
    Hostile("the requirements as model", "skops", _other_file("requirements.txt"), NOT_LOADABLE),
    Hostile("a link to a file outside", "skops", _link("model.skops", "../outside.skops"), UNSAFE),
    Hostile("a link within", "skops", _link("again.skops", "model.skops"), UNSAFE),
    Hostile("a link to a folder", "skops", _link("folder", ".."), UNSAFE),
    Hostile("a link for MLmodel", "skops", _link("MLmodel", "../outside.skops"), UNSAFE),
    Hostile("a link for the input example", "skops", _link("input_example.json", "/etc/passwd"), UNSAFE),
    Hostile("a pipe", "skops", lambda attempt: os.mkfifo(attempt.directory / "pipe"), UNSAFE),
    Hostile("a name written from right to left", "skops", _file("model\u202espoks.py"), UNSAFE),
    Hostile("a name with a line break", "skops", _file("model\n.skops"), UNSAFE),
    Hostile("a name without width", "skops", _file("MLmodel\u200b"), UNSAFE),
    Hostile("a nested model", "skops", _nested),
    Hostile("an MLmodel in small letters", "skops", _file("mlmodel")),
    Hostile("a module beside it", "skops", _file("sitecustomize.py")),
    Hostile("a module in a folder", "booster", _file("lightgbm/__init__.py")),
    Hostile("a file to install", "skops", _file("setup.py")),
    Hostile("a key twice", "skops", _twice, UNREADABLE),
    Hostile("a section twice", "skops", _add("flavors: {python_function: {loader_module: os}}\n"), UNREADABLE),
    Hostile("a reference", "skops", _add("one: &a {x: 1}\ntwo: *a\n"), UNREADABLE),
    Hostile("a merge", "skops", _add("metadata: {<<: {flavors: 1}}\n"), UNREADABLE),
    Hostile("a tag that makes an object", "skops", _add("x: !!python/object/apply:os.getpid []\n"), UNREADABLE),
    Hostile("a tag of its own", "skops", _add("x: !load {a: b}\n"), UNREADABLE),
    Hostile("a key that is a number", "skops", _add("1: x\n"), UNREADABLE),
    Hostile("a second document", "skops", _add("---\nflavors: {}\n"), UNREADABLE),
    Hostile("a bomb of references", "skops", _bomb, UNREADABLE),
    Hostile("a bomb of brackets", "skops", _say("a: " + "[" * 50_000), UNREADABLE),
    Hostile("a list", "skops", _say("- flavors"), UNREADABLE),
    Hostile("nothing", "skops", _say(""), UNREADABLE),
    Hostile("a section that is a text", "skops", _say("flavors: {python_function: {}, sklearn: x}"), UNREADABLE),
    Hostile("many nodes", "skops", _add("metadata: {x: [" + "1, " * 2**20 + "1]}\n"), UNREADABLE),
    Hostile("many empty lists", "skops", _add("metadata: {x: [" + "[], " * 2**19 + "1]}\n"), UNREADABLE),
    Hostile("a number to the base of 60", "skops", _add("metadata: {x: 1" + ":1" * 2**20 + "}\n"), UNREADABLE),
    Hostile("a long number", "skops", _add("metadata: {x: " + "1" * 2**20 + "}\n"), UNREADABLE),
    Hostile("a long list of packages", "skops", _long_file("conda.yaml"), TOO_LARGE),
    Hostile("a long list of requirements", "skops", _long_file("requirements.txt"), TOO_LARGE),
    Hostile("too long", "skops", _add("metadata: {x: '" + "y" * 2**22 + "'}\n"), "model_file_too_large"),
    Hostile("a number to the base 60", "skops", _add("x: 1" + ":59" * 10**5 + "\n"), UNREADABLE),
    Hostile("a fraction to the base 60", "skops", _add("x: 1" + ":59" * 2000 + ".5\n"), UNREADABLE),
    Hostile("a million values", "skops", _add("x: [" + "y," * 10**6 + "]\n"), UNREADABLE),
    Hostile("a number without digits", "skops", _add("x: !!float ''\n"), UNREADABLE),
    Hostile("a flag that is none", "skops", _add("x: !!bool maybe\n"), UNREADABLE),
    Hostile("a moment that is none", "skops", _add("x: !!timestamp never\n"), UNREADABLE),
    Hostile("a letter beyond all letters", "skops", _add('x: "\\UFFFFFFFF"\n'), UNREADABLE),
    Hostile("another name for the tag of objects", "skops",
            lambda attempt: attempt.say("%TAG ! tag:yaml.org,2002:python/\n---\n" + attempt.card.read_text()
                                        + "x: !object/apply:os.getpid []\n"), UNREADABLE),
    Hostile("another encoding", "skops",
            lambda attempt: attempt.card.write_bytes(attempt.card.read_text().encode("utf-16")), UNREADABLE),
    Hostile("a flavor in other letters", "skops", _set("python\uff3ffunction", loader_module="os")),
    Hostile("a loader in other letters", "skops", _loader("mlflow.\uff53klearn")),
    Hostile("a loader with a line break", "skops", _loader("mlflow.sklearn\n")),
    Hostile("a key in capitals", "skops", _set("python_function", Code="code")),
    Hostile("a file in capitals", "skops", _file("Model.skops")),
    Hostile("a packed model beside it", "skops", _file("model.zip")),
    Hostile("runs of MLflow within", "skops", _file("mlruns/0/model/MLmodel")),
    Hostile("an example that is a pickle by its name", "skops",
            lambda attempt: (attempt.pickle("example.pkl"),
                             _set("top", saved_input_example_info={"artifact_path": "example.pkl"})(attempt))),
    Hostile("an archive that unpacks to much", "skops", _archive_bomb, "model_too_large"),
    Hostile("a vectorizer that opens files", "skops", _file_reader),
    Hostile("one that says so in other letters", "skops", _changed_file_reader(_escaped)),
    Hostile("one that says so by a number", "skops", _changed_file_reader(_under_another_number)),
)  # fmt: skip


def bad_example(content: str) -> Callable[[Attempt], None]:
    """An input example that is not what it says."""
    return lambda attempt: (attempt.directory / "input_example.json").write_text(content) and None


def _example(
    data: list[Any], columns: tuple[str, ...] = ("age", "hours"), kind: str = "double"
) -> Callable[[Attempt], None]:
    def spoil(attempt: Attempt) -> None:
        bad_example(json.dumps({"columns": columns, "data": data}))(attempt)
        attempt.edit(top={"signature": {"inputs": COLUMNS.replace("double", kind)}})

    return spoil


COLUMNS = '[{"name": "age", "type": "double"}, {"name": "hours", "type": "long"}]'
DEEP = "[" * 100_000
REPEATED = "signature_repeated"
_NUMBER = '{"name": "%s", "type": "double"}'


def _equal_classes(attempt: Attempt) -> None:
    """Another model under the same name, whose two probabilities have one label."""
    features = np.array([[20.0, 10], [60, 50], [30, 10], [70, 50]])
    model = LogisticRegression().fit(features, ["a", "b", "a", "b"])
    model.classes_ = np.array(["x", "x"])
    skops.io.dump(model, attempt.directory / "model.skops")


def _inputs(*columns: str) -> Callable[[Attempt], Any]:
    return _set("top", signature={"inputs": f"[{', '.join(columns)}]"})


def _beside(part: str, *entries: str) -> Callable[[Attempt], Any]:
    """A signature of fitting inputs, and ``entries`` in another part of it."""
    inputs = f"[{_NUMBER % 'age'}, {_NUMBER % 'hours'}]"
    return _set("top", signature={"inputs": inputs, part: f"[{', '.join(entries)}]"})


BAD_DESCRIPTIONS: tuple[tuple[str, Callable[[Attempt], Any], str], ...] = (
    ("an example nested deeply", bad_example(DEEP), "input_example_unfit"),
    ("an example that is a list", bad_example("[1]"), "input_example_unfit"),
    ("an example past the limit", bad_example(json.dumps("x" * (2**24 + 1))), "model_file_too_large"),
    ("an example that is a pickle", lambda attempt: attempt.pickle("input_example.json"), "input_example_unfit"),
    ("an example of a million values", bad_example("[" + "[]," * 10**6 + "[]]"), "model_file_too_large"),
    ("an example of integers without end", _example([[1, 10**30]]), "input_example_unfit"),
    ("an example with a column twice", _example([[True, 1, 1]], ("age", "age", "hours"), "boolean"),
     "input_example_unfit"),
    ("outputs that are no numbers", _set("top", signature={"inputs": COLUMNS, "outputs": "[NaN]"}), UNREADABLE),
    ("outputs with NUL", _set("top", signature={"inputs": COLUMNS, "outputs": r'["\u0000"]'}), UNREADABLE),
    ("outputs with half a pair", _set("top", signature={"inputs": COLUMNS, "outputs": r'["\ud800"]'}), UNREADABLE),
    ("outputs nested deeply", _set("top", signature={"inputs": COLUMNS, "outputs": "[" * 900 + "]" * 900}), UNREADABLE),
    ("a param without a name", _set("top", signature={"inputs": COLUMNS, "params": '[{"type": "long"}]'}), UNREADABLE),
    ("a signature nested deeply", _set("top", signature={"inputs": DEEP}), UNREADABLE),
    ("a signature that is an object", _set("top", signature={"inputs": {"a": 1}}), UNREADABLE),
    ("classes that are equal", _equal_classes, "model_classes_repeated"),
    ("an example of very many lists", bad_example("[" + "[]," * 2**21 + "0]"), "model_file_too_large"),
    ("a column twice", _inputs(_NUMBER % "a", _NUMBER % "a"), REPEATED),
    ("a column twice, once escaped", _inputs(_NUMBER % "a", _NUMBER % "\\u0061"), REPEATED),
    ("a column with two names", _inputs('{"name": "a", "name": "b", "type": "double"}'), UNREADABLE),
    ("a column named by a number", _inputs('{"name": 1, "type": "double"}'), "signature_unnamed"),
    ("a column named by half a surrogate pair", _inputs(_NUMBER % "\\ud800"), UNREADABLE),
    ("a column named by NUL", _inputs(_NUMBER % "\\u0000"), UNREADABLE),
    ("a column required by a text", _inputs('{"name": "a", "type": "double", "required": "no"}'), UNREADABLE),
    ("a param twice", _beside("params", _NUMBER % "a", _NUMBER % "a"), REPEATED),
    ("a param without a type", _beside("params", '{"name": "a"}'), UNREADABLE),
    ("a param that is a number", _beside("params", "1"), UNREADABLE),
    ("an output that no database keeps", _beside("outputs", _NUMBER % "\\u0000"), UNREADABLE),
    ("an output twice", _beside("outputs", _NUMBER % "a", _NUMBER % "a"), REPEATED),
    ("a signature of numbers", _set("top", signature={"inputs": "[1, 2]"}), "signature_unnamed"),
    (
        "a column whose type is a list",
        _set("top", signature={"inputs": '[{"name": "a", "type": ["double"]}]'}),
        "signature_type_unsupported",
    ),
)  # fmt: skip
