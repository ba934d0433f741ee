"""Keys of predictions that may be sent more than once."""

import time
import uuid
from collections.abc import Callable

import pytest
from fastapi import Request

from tests.unit.serving.test_lines import SPEC
from tidemill.kit.errors import Invalid
from tidemill.kit.ids import uuid7
from tidemill.model_server.idempotency import RequestKey, request_key
from tidemill.model_server.recording import prediction_ids


def asked(key: str | None, path: str = "/predict", body: bytes = b"{}") -> RequestKey | None:
    headers = [] if key is None else [(b"idempotency-key", key.encode())]
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": headers,
        "server": ("x", 80),
    }
    return request_key(Request(scope), body)


def ids_of(key: RequestKey | None, principal: str = "key_1", prediction: float = 1.0) -> list[str]:
    assert key is not None
    outputs = [{"prediction": prediction}, {"prediction": 2.0}]
    made, _ = prediction_ids(2, key.milliseconds, lambda size: key.randomness(principal, SPEC, outputs, size))
    return made


def now_key() -> str:
    return f"{time.time():.3f}-0123456789abcdef"


def test_without_a_key_nothing_is_repeatable() -> None:
    assert asked(None) is None


@pytest.mark.parametrize(
    "make_key", [now_key, lambda: uuid7().hex, lambda: str(uuid7()).upper()], ids=["moment", "uuid", "hex"]
)
def test_the_same_request_again_gets_the_same_ids(make_key: Callable[[], str]) -> None:
    key = make_key()
    first = ids_of(asked(key))
    assert first == ids_of(asked(key))
    assert first == sorted(set(first))


def test_any_difference_gives_other_ids() -> None:
    key = now_key()
    variants = [
        ids_of(asked(key)),
        ids_of(asked(key, body=b"[]")),
        ids_of(asked(key, path="/other")),
        ids_of(asked(key), principal="key_2"),
        ids_of(asked(key), prediction=1.5),
        ids_of(asked(now_key() + "x")),
    ]
    assert len({id_ for made in variants for id_ in made}) == 12


def test_a_key_that_names_no_moment_near_now_is_refused() -> None:
    moments = [f"{time.time() + offset:.3f}-0123456789" for offset in (-3700, 3700)]
    shapes = ["", "zzz", str(uuid.uuid4()), now_key() + " ", now_key() + "x" * 200, str(uuid7()) + "0"]
    for key in [*moments, *shapes, "9999999999.000-0123456789"]:
        with pytest.raises(Invalid) as refused:
            asked(key)
        assert refused.value.code == "idempotency_key_invalid"
        assert not key or key not in refused.value.detail
