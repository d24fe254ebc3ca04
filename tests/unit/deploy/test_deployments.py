"""What stands beside the code for those who deploy it says nothing that the code does not know."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml  # type: ignore[import-untyped]  # it publishes no types

from backchannel_deploy.cli.app import app
from backchannel_deploy.doctor.configured import settings_of
from backchannel_sinks.notifier.plan import Plan

DEPLOY = Path(__file__).parents[3] / "deploy"
FILES = (
    "Dockerfile",
    "compose.yaml",
    "kubernetes.yaml",
    "systemd/backchannel-up.service",
    "systemd/backchannel@.service",
)


def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def objects(kind: str) -> Iterator[dict[str, Any]]:
    for each in yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()):
        if each["kind"] == kind:
            yield each


def containers() -> list[dict[str, Any]]:
    specs = [
        each["spec"]["template"]["spec"] for kind in ("Job", "Deployment") for each in objects(kind)
    ]
    return [container for spec in specs for container in spec["containers"]]


@pytest.mark.parametrize("name", FILES)
def test_every_setting_that_a_deployment_names_is_read_by_somebody(name: str) -> None:
    text = "\n".join(
        line for line in (DEPLOY / name).read_text().splitlines() if "PROTOCOL_MAP" not in line
    )

    known = {each.variable for each in settings_of(())}
    assert set(re.findall(r"BACKCHANNEL_[A-Z_]+[A-Z]", text)) <= known


def test_what_a_deployment_runs_are_commands() -> None:
    told = [each["command"] for each in services().values() if each.get("image") == "backchannel"]
    told += [argument for container in containers() for argument in container["args"]]

    assert set(told) == {"migrate", "worker", "sink", "notifier"}
    assert set(told) <= set(app)


def test_roles_are_probed_where_the_image_has_them_answer() -> None:
    image = dict(re.findall(r"BACKCHANNEL_(\w+)_PORT=(\d+)", (DEPLOY / "Dockerfile").read_text()))

    assert all(
        image[role.upper()] in services()[role]["healthcheck"]["test"]
        for role in map(str.lower, image)
    )
    assert {
        (container["name"].upper(), str(container["ports"][0]["containerPort"]))
        for container in containers()
        if "ports" in container
    } == set(image.items())


def test_the_notifier_takes_the_file_of_the_example(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = next(objects("Secret"))["stringData"]
    for name in ("ON_CALL_WEBHOOK", "ON_CALL_SECRET"):
        monkeypatch.setenv(name, secret[name])
    file = tmp_path / "notifier.toml"
    file.write_text(next(objects("ConfigMap"))["data"]["notifier.toml"])

    assert list(Plan.load(file).target) == ["oncall"]


def test_systemd_starts_what_is_a_command() -> None:
    up = (DEPLOY / "systemd" / "backchannel-up.service").read_text()
    role = (DEPLOY / "systemd" / "backchannel@.service").read_text()

    assert "ExecStart=/opt/backchannel/bin/backchannel up\n" in up
    assert "ExecStart=/opt/backchannel/bin/backchannel %i\n" in role
    assert {"up", "worker", "sink", "notifier", "exporter"} <= set(app)
