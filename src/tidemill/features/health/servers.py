"""The servers that the api depends on."""

from datetime import timedelta
from importlib import metadata

from tidemill.adapters.mlflow_rest import MlflowRest
from tidemill.adapters.object_store import ObjectStore
from tidemill.adapters.store_mark import FOREIGN
from tidemill.features.datasets.keys import upload_key
from tidemill.features.health.findings import age_text, ok, problem, warning
from tidemill.kit import ids
from tidemill.kit.clock import utc_now
from tidemill.kit.errors import Unavailable
from tidemill.schemas.health import CheckResult
from tidemill.web.certificate import certificate_expiry

_PROBE = b"tidemill doctor"
_BRING_BACK = (
    "Jobs wait meanwhile. Mount its disk or set its address right; if it was moved: `tidemill admin adopt-store`."
)
_RENEW = timedelta(days=21)
_RENEW_NOW = timedelta(days=7)


async def check_store(store: ObjectStore) -> CheckResult:
    """Write, read and delete one object where unfinished uploads lie, so that a left one is collected."""
    try:
        await store.ensure_right()
    except Unavailable as error:
        if error.code != FOREIGN:
            raise
        return problem("object store", error.detail, _BRING_BACK)
    key = upload_key(ids.new_id(ids.UPLOAD))
    await store.put(key, _PROBE)
    same = await store.get(key) == _PROBE
    await store.delete([key])
    if not same:
        return problem("object store", "It gives back other bytes than it took.", "Do not use this store.")
    return ok("object store", "Writes, reads and deletes.")


async def check_mlflow(mlflow: MlflowRest) -> CheckResult:
    running, wanted = await mlflow.version(), _pinned_mlflow()
    if wanted is None or running == wanted:
        return ok("mlflow", f"MLflow {running} answers.")
    return warning(
        "mlflow", f"MLflow {running} answers; this version is tested with {wanted}.", f"Run MLflow {wanted}."
    )


def _pinned_mlflow() -> str | None:
    """Of this installation; None where MLflow is not installed beside the api."""
    try:
        return metadata.version("mlflow")
    except metadata.PackageNotFoundError:
        return None


async def check_certificate(address: str | None) -> CheckResult:
    if address is None:
        return ok("certificate", "No TLS server is set (observability.tls_address).")
    try:
        left = await certificate_expiry(address) - utc_now()
    except (OSError, ValueError):
        return problem("certificate", f"{address} shows no readable certificate.", "Look at its log.")
    if left < timedelta(0):
        return problem("certificate", "It has expired.", "Renew it and reload Nginx.")
    if left < _RENEW:
        report = problem if left < _RENEW_NOW else warning
        return report("certificate", f"It expires in {age_text(left)}.", "Renew it and reload Nginx.")
    return ok("certificate", f"Valid for {age_text(left)}.")
