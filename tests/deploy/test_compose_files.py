"""What must hold of every service in every stack, whoever adds one. The files are read as Compose itself reads them."""

import json
import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.programs import docker_compose

DEPLOY = Path(__file__).parents[2] / "deploy"
STACKS = ("staging", "production")
STORES = ("minio", "seaweedfs", "external")
_NOT_PINNED = {"alertmanager"}  # to be pinned when its next release is chosen


Config = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def read_stack() -> Config:
    """``read_stack("staging", NAME="value")``: the stack as Compose makes it of its files and this environment."""
    compose = docker_compose()

    def read(stack: str, **environment: str) -> dict[str, Any]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("TIDEMILL_")}
        files = ["--env-file", str(DEPLOY / f"{stack}.env"), "-f", str(DEPLOY / "compose.yaml")]
        done = subprocess.run(
            [*compose.command, *files, "--profile", "*", "config", "--format", "json"],
            env={**inherited, **environment}, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    return read


@pytest.fixture(scope="module", params=STACKS)
def config(request: pytest.FixtureRequest, read_stack: Config) -> dict[str, Any]:
    return read_stack(request.param)


def test_only_nginx_is_published(config: dict[str, Any]) -> None:
    published = [name for name, service in config["services"].items() if service.get("ports")]
    assert published == ["nginx"]
    outside = [name for name, service in config["services"].items() if "edge" in (service.get("networks") or {})]
    assert outside == ["nginx"]
    open_networks = {name for name, network in config["networks"].items() if not network.get("internal")}
    assert open_networks == {"edge", "notifications"}  # the second is for Alertmanager's messages
    members = [name for name, service in config["services"].items() if "notifications" in (service["networks"] or {})]
    assert members == ["alertmanager"]


def test_every_service_can_do_no_more_than_it_needs(config: dict[str, Any]) -> None:
    for name, service in config["services"].items():
        assert service["cap_drop"] == ["ALL"], name
        assert not service.get("cap_add"), name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["read_only"] is True, name
        assert service["init"] is True, name
        assert not service.get("privileged"), name
        assert service.get("network_mode") is None, name


def test_every_service_has_limits_and_bounded_logs(config: dict[str, Any]) -> None:
    for name, service in config["services"].items():
        limits = service["deploy"]["resources"]["limits"]
        assert {"cpus", "memory", "pids"} <= set(limits), name
        assert service["logging"]["driver"] == "json-file", name
        assert {"max-size", "max-file"} <= set(service["logging"]["options"]), name


def test_every_lasting_service_returns_and_every_job_does_not(config: dict[str, Any]) -> None:
    jobs = {"roles", "migrate", "migrate-mlflow", "create-bucket"}
    for name, service in config["services"].items():
        assert service["restart"] == ("no" if name in jobs else "unless-stopped"), name


def test_secrets_are_files_and_no_environment_holds_one(config: dict[str, Any]) -> None:
    for name, service in config["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            if re.search(r"PASSWORD|SECRET|TOKEN|_KEY\b", variable):
                assert variable.endswith("_FILE") or str(value).startswith("/run/secrets/"), f"{name} {variable}"
            assert not re.search(r"://[^/@:]+:[^@]+@", str(value)), f"{name} {variable}"
    assert all("file" in secret for secret in config["secrets"].values())


def test_the_jobs_of_a_worker_fit_into_its_container(config: dict[str, Any]) -> None:
    worker = config["services"]["worker"]
    names = ("CONCURRENCY", "SHORT_CONCURRENCY", "MEMORY_LIMIT_BYTES")
    concurrency, short, limit = (int(worker["environment"][f"TIDEMILL_WORKER__{name}"]) for name in names)
    assert (concurrency + short) * limit < int(worker["deploy"]["resources"]["limits"]["memory"])


def test_traces_go_where_the_env_file_or_the_shell_says_and_nowhere_else(
    config: dict[str, Any], read_stack: Config
) -> None:
    name, endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318"
    told = read_stack("staging", **{name: endpoint})
    for stack, expected in ((config, {}), (told, dict.fromkeys(("api", "worker", "model-server"), endpoint))):
        given = {
            service: (content.get("environment") or {}).get(name) for service, content in stack["services"].items()
        }
        assert {service: value for service, value in given.items() if value} == expected


_FOLLOW_THE_STACK = frozenset(
    f"TIDEMILL_EDGE_{name}"
    for name in ("ENVIRONMENT", "SERVER_NAME", "HTTPS_PORT", "PROFILES", "TLS_LISTEN", "ACME_ROOT", "RESOLVER", "API")
)
"""Of the variables in the table of docs/edge.md, those that no env file needs."""


def _told_to_set() -> list[str]:
    """The variables that the runbooks name and that the table of the edge does."""
    docs = DEPLOY.parent / "docs"
    texts = [page.read_text() for page in (docs / "runbooks").glob("[A-Z]*[a-z].md")]
    texts += re.findall(r"^\| (`TIDEMILL_EDGE_[^|]*)", (docs / "edge.md").read_text(), re.MULTILINE)
    return sorted({name for text in texts for name in re.findall(r"TIDEMILL_[A-Z_]+", text)} - _FOLLOW_THE_STACK)


def test_what_the_documents_tell_to_set_reaches_a_service_from_the_env_file(read_stack: Config) -> None:
    before = json.dumps(read_stack("staging")["services"])
    for name in _told_to_set():
        assert json.dumps(read_stack("staging", **{name: "4711"})["services"]) != before, name


def test_backups_may_be_let_out_alone(config: dict[str, Any], read_stack: Config) -> None:
    services, networks = config["services"], config["networks"]
    assert [name for name, service in services.items() if "backups" in (service["networks"] or {})] == ["backup"]
    assert networks["backups"]["internal"] is True
    assert not read_stack("staging", TIDEMILL_BACKUP_NETWORK_INTERNAL="false")["networks"]["backups"].get("internal")


def test_nginx_leads_to_grafana_where_its_profile_is_on(read_stack: Config) -> None:
    for profiles in ("", "exporters,dashboards"):
        nginx = read_stack("staging", COMPOSE_PROFILES=profiles)["services"]["nginx"]
        assert nginx["environment"]["TIDEMILL_EDGE_PROFILES"] == profiles


def test_stacks_on_one_host_share_nothing(read_stack: Config) -> None:
    staging, production = (read_stack(stack) for stack in STACKS)
    for kind in ("networks", "volumes"):
        names = [{entry["name"] for entry in one[kind].values()} for one in (staging, production)]
        assert not names[0] & names[1]
    secrets = [{entry["file"] for entry in one["secrets"].values()} for one in (staging, production)]
    assert not secrets[0] & secrets[1]
    ports = [{port["published"] for port in one["services"]["nginx"]["ports"]} for one in (staging, production)]
    assert not ports[0] & ports[1]
    environments = {one["services"]["api"]["environment"]["TIDEMILL_ENVIRONMENT"] for one in (staging, production)}
    assert environments == set(STACKS)


@pytest.mark.parametrize("kind", STORES)
def test_the_object_store_is_one_setting(kind: str, read_stack: Config) -> None:
    services = read_stack("staging", TIDEMILL_OBJECT_STORE_KIND=kind)["services"]
    assert ("object-store" in services) == (kind != "external")
    assert "create-bucket" in services


def test_make_pulls_every_image_that_is_not_built_here(config: dict[str, Any]) -> None:
    listed = re.search(r"^FOREIGN := (.*)$", (DEPLOY.parent / "Makefile").read_text(), re.MULTILINE)
    assert listed
    images = {name: service["image"] for name, service in config["services"].items()}
    built = {images[name] for name, service in config["services"].items() if "build" in service}
    wanted = {image for image in images.values() if image not in built}
    assert {images[name] for name in listed[1].split()} == wanted


def test_images_are_pinned_to_a_version() -> None:
    for file in sorted(DEPLOY.glob("compose/*.yaml")):
        services = yaml.safe_load(file.read_text()).get("services") or {}
        for name, service in services.items():
            image = service.get("image", "${TIDEMILL_IMAGE}")
            default = re.sub(r"^\$\{TIDEMILL_[A-Z_]+:?-?|\}$", "", image)
            own = image.startswith(("${TIDEMILL_IMAGE", "${TIDEMILL_MODEL_SERVER_IMAGE"))
            assert own or ":" in default, f"{file.name} {name}"
            assert own or name in _NOT_PINNED or not default.endswith(":latest"), f"{file.name} {name}"


def test_base_images_are_pinned_to_a_version() -> None:
    for file in (DEPLOY.parent / "Dockerfile", DEPLOY / "minio" / "Dockerfile"):
        defaults = re.findall(r"^ARG \w+_IMAGE=(\S+)$", file.read_text(), re.MULTILINE)
        assert defaults
        assert all(":" in image and not image.endswith(":latest") for image in defaults), file
