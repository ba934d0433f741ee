"""A restored stack answers as the old one did, or the drill says that it does not."""

from pathlib import Path

import httpx
import psycopg
import pytest

from tests.integration.backup.stacks import Databases, Vault, quiet, rows_of
from tests.integration.serving.conftest import ServerThread, control, models, server  # noqa: F401 - fixtures
from tests.integration.serving.models import ROWS, Models, classifier
from tidemill.admin.drill import Drill, DrillResult, compare
from tidemill.backup.stack import Stack, name_of, with_name
from tidemill.backup.target import LATEST
from tidemill.settings.model import ObjectStoreSettings, Settings

_DATABASES = "SELECT count(*) FROM pg_database WHERE starts_with(datname, 'tidemill_drill_')"


@pytest.fixture
def stack(
    settings: Settings,
    models: Models,  # noqa: F811 - the fixture
    databases: Databases,
    mlflow_template: str,
    tmp_path: Path,
) -> Stack:
    """The stack behind the test's api and model server."""
    mlflow = databases.make(mlflow_template)
    own = settings.model_copy(update={"object_store": ObjectStoreSettings(url=f"file://{tmp_path}/objects")})
    return Stack(own, settings.database, with_name(settings.database, name_of(mlflow)), models.store)


async def _drill(stack: Stack, vault: Vault) -> DrillResult:
    manifest = await vault.target.manifest(await vault.target.resolve(LATEST))
    return await Drill(stack, vault.target, manifest, vault.keys, vault.scratch(), quiet).run()


async def test_golden_predictions_are_answered_alike_and_a_changed_one_is_noticed(
    stack: Stack,
    sealed_vault: Vault,
    models: Models,  # noqa: F811 - the fixture
    control: httpx.AsyncClient,  # noqa: F811 - the fixture
    server: ServerThread,  # noqa: F811 - the fixture
) -> None:
    await models.register("people", classifier(), task="binary", classes=["poor", "rich"], target="wealth")
    await models.point("people", "champion", 1)
    assert (await control.put("/api/v1/deployments/people", json={"model": "people"})).status_code in (200, 201)
    await server.start()
    await server.until_serving("people", 1)
    assert (await server.predict("people", ROWS)).status_code == 200
    await server.until_shipped()
    made = await sealed_vault.back_up(stack)
    assert (made.manifest.golden.rows, made.manifest.golden.versions) == (4, 1)

    result = await _drill(stack, sealed_vault)
    assert result.passed, result
    assert [(each.reference, each.identical) for each in result.versions] == [("people:1", 4)]
    assert await rows_of(stack.tidemill, _DATABASES) == [(0,)]

    with psycopg.connect(stack.tidemill.url.get_secret_value().replace("+psycopg", "", 1)) as connection:
        connection.execute(
            """UPDATE predictions SET output = '{"prediction": "poor", "probabilities": {"poor": 1, "rich": 0}}'
               WHERE prediction_id = (SELECT min(prediction_id) FROM predictions)"""
        )
    await sealed_vault.back_up(stack)
    changed = await _drill(stack, sealed_vault)
    assert not changed.passed
    assert [(each.identical, each.differing) for each in changed.versions] == [(3, 1)]


@pytest.mark.parametrize(
    ("recorded", "answered", "verdict"),
    [
        ({"prediction": 0.1}, {"prediction": 0.1}, "identical"),
        ({"prediction": 0.1, "a": [1.0]}, {"a": [1.0 + 1e-15], "prediction": 0.1}, "rounded"),
        ({"prediction": 0.1}, {"prediction": 0.1001}, "differing"),
        ({"prediction": 1}, {"prediction": "1"}, "differing"),
        ({"prediction": 1}, {"prediction": True}, "differing"),
        ({"prediction": [1.0]}, {"prediction": [1.0, 2.0]}, "differing"),
    ],
)
def test_answers_are_compared_to_the_last_byte(recorded: object, answered: object, verdict: str) -> None:
    assert compare(recorded, answered) == verdict
