"""The input example that MLflow keeps with a model, as a frame of the signature's types."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from tidemill.kit.errors import Invalid

_PANDAS = {
    "boolean": "bool",
    "integer": "int32",
    "long": "int64",
    "float": "float32",
    "double": "float64",
    "string": "str",
    "datetime": "datetime64[ns]",
}


def input_example(directory: Path, card: dict[str, Any], signature: dict[str, Any]) -> pd.DataFrame | None:
    """None if the model has none that is a table. Raises Invalid if it is damaged or does not fit the signature."""
    info = card.get("saved_input_example_info") or {}
    if info.get("type") != "dataframe" or info.get("pandas_orient", "split") != "split":
        return None
    file = (directory / str(info.get("artifact_path"))).resolve()
    if not file.is_relative_to(directory.resolve()) or not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        frame = pd.DataFrame(content["data"], columns=content["columns"])
        kept = [column for column in signature["inputs"] if column["name"] in frame.columns]
        types = {column["name"]: _type(column, frame) for column in kept}
        return frame[list(types)].astype(types)
    except (KeyError, TypeError, ValueError):
        raise Invalid("input_example_unfit", "The model's input example does not fit its signature.") from None


def _type(column: dict[str, Any], frame: pd.DataFrame) -> str:
    wanted = _PANDAS[column["type"]]
    return "object" if wanted == "bool" and frame[column["name"]].hasnans else wanted
