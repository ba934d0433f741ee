"""The input example that MLflow keeps with a model, as a frame of the signature's types."""

from pathlib import Path
from typing import Any

import pandas as pd

from tidemill.adapters.mlmodel import file_inside, read_json
from tidemill.kit.errors import Invalid, TidemillError

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
    info = card.get("saved_input_example_info")
    if not isinstance(info, dict) or info.get("type") != "dataframe":
        return None
    if info.get("pandas_orient", "split") != "split":
        return None
    file = file_inside(directory, info.get("artifact_path"))
    try:
        content = read_json(file)
        frame = pd.DataFrame(content["data"], columns=content["columns"])
        kept = [column for column in signature["inputs"] if column["name"] in frame.columns]
        types = {column["name"]: _type(column, frame) for column in kept}
        return frame[list(types)].astype(types)
    except TidemillError:
        raise
    except Exception:  # noqa: BLE001 - pandas raises many kinds for what cannot be made a table
        raise Invalid("input_example_unfit", "The model's input example does not fit its signature.") from None


def _type(column: dict[str, Any], frame: pd.DataFrame) -> str:
    wanted = _PANDAS[column["type"]]
    return "object" if wanted == "bool" and frame[column["name"]].hasnans else wanted
