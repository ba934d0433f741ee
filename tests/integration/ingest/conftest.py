"""Ingest in a folder of the test's own."""

from pathlib import Path

import pytest

from tests.integration.ingest.ingesting import Ingest


@pytest.fixture
def ingest(tmp_path: Path) -> Ingest:
    return Ingest(tmp_path)
