"""What an MLflow server says of a model's files is not believed while they are fetched."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from tidemill.adapters.bundles import BundleLimits
from tidemill.adapters.mlflow_models import download_model
from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.kit.errors import TooLarge


class LyingMlflow:
    """Says another size of every file than the 100 bytes that it has."""

    def __init__(self, said_bytes: int) -> None:
        self._said_bytes = said_bytes

    async def list_artifacts(self, artifact_path: str) -> list[dict[str, Any]]:
        return [{"path": f"{number}", "file_size": self._said_bytes} for number in range(10)]

    async def download_artifact(self, artifact_path: str) -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(10)


@pytest.mark.parametrize("said_bytes", [0, -(2**40), 1])
async def test_files_that_are_larger_than_was_said_pass_the_limit_of_all_of_them_together(
    said_bytes: int, tmp_path: Path
) -> None:
    mlflow = cast("MlflowRest", LyingMlflow(said_bytes))
    with pytest.raises(TooLarge):
        await download_model(mlflow, "model", tmp_path / "refused", BundleLimits(max_bytes=450))
    assert sum(path.stat().st_size for path in (tmp_path / "refused").iterdir()) <= 450
    await download_model(mlflow, "model", tmp_path / "whole", BundleLimits(max_bytes=1000))
    assert len(list((tmp_path / "whole").iterdir())) == 10
