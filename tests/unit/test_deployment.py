"""The deployment files agree with the settings, the commands, the tree and the documentation.

No container engine is needed: a schema, and comparisons with what the files name.
"""

import fnmatch
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from tests.checkout import CHECKOUT
from worker.settings import PREFIX, Settings, env_name

COMPOSE_TEXT = (CHECKOUT / "docker-compose.yml").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load(COMPOSE_TEXT)
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
FLEET = {name: service for name, service in SERVICES.items() if "build" in service}
VARIABLES = {env_name(field) for field in Settings.model_fields}
INTERPOLATION = re.compile(r"\$\{(?P<name>\w+)(?::(?P<kind>[-?])(?P<rest>[^}]*))?\}")


def fleet_words(service: dict[str, Any]) -> list[list[str]]:
    """The `fleet` command lines of a service: its command, and its health check where that is one."""
    lines: list[list[str]] = [service["command"]]
    check = service.get("healthcheck", {}).get("test", [])
    if check[1:2] == ["fleet"]:
        lines.append(check[2:])
    return lines


def seconds(duration: str) -> int:
    """Compose's way to write durations, as far as the file uses it."""
    match = re.fullmatch(r"(\d+)(s|m)", duration)
    assert match is not None, duration
    return int(match[1]) * {"s": 1, "m": 60}[match[2]]


def test_the_compose_file_keeps_the_compose_schema() -> None:
    checker = str(Path(sys.executable).with_name("check-jsonschema"))
    command = [checker, "--builtin-schema", "vendor.compose-spec", str(CHECKOUT / "docker-compose.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_services_are_those_that_a_fleet_needs() -> None:
    assert set(SERVICES) == {"postgres", "valkey", "migrate", "worker", "relay", "consume", "beat", "flower"}
    assert set(FLEET) == {"migrate", "worker", "relay", "consume", "beat", "flower"}


@pytest.mark.parametrize("name", FLEET)
def test_every_variable_of_a_service_is_a_setting(name: str) -> None:
    assert set(FLEET[name]["environment"]) <= VARIABLES


def test_every_setting_that_can_be_overridden_has_the_settings_own_default() -> None:
    pairs = {match["name"]: match["rest"] for match in INTERPOLATION.finditer(COMPOSE_TEXT) if match["kind"] == "-"}
    fields = {env_name(field): info.default for field, info in Settings.model_fields.items()}
    shown = {name: ",".join(value) if isinstance(value, tuple) else str(value) for name, value in fields.items()}
    ours = {name: default for name, default in pairs.items() if name.startswith(PREFIX)}
    assert ours, "the compose file offers no setting"
    assert ours == {name: shown.get(name) for name in ours}


@pytest.mark.parametrize("name", FLEET)
def test_every_command_is_one_of_the_command_line(name: str) -> None:
    from worker.cli.main import main as group  # the whole command line: the other tests need none of it

    assert isinstance(group, click.Group)
    for words in fleet_words(FLEET[name]):
        command: click.Command | None = group
        for word in words:
            assert isinstance(command, click.Group), f"`fleet {' '.join(words)}`: no such command"
            command = command.get_command(click.Context(command), word)
        assert command is not None, f"`fleet {' '.join(words)}`: no such command"


@pytest.mark.parametrize("name", SERVICES)
def test_every_dependency_volume_and_network_is_declared(name: str) -> None:
    service = SERVICES[name]
    assert set(service.get("depends_on", {})) <= set(SERVICES)
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (CHECKOUT / source).is_file(), source
        else:
            assert source in COMPOSE["volumes"], source


def test_a_dependency_waits_for_a_condition_that_can_come_true() -> None:
    for service in SERVICES.values():
        for name, dependency in service.get("depends_on", {}).items():
            if dependency["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[name], f"{name} is awaited healthy and has no health check"
            else:
                assert dependency["condition"] == "service_completed_successfully"
                assert SERVICES[name]["restart"] == "no", f"{name} is awaited to end and is restarted"


def test_services_meet_on_a_network_with_what_they_call() -> None:
    for service in FLEET.values():
        environment = service["environment"]
        for host, variable in (("postgres", "OMNINODE_DATABASE_URL"), ("valkey", "OMNINODE_BROKER_URL")):
            if variable in environment:
                assert f"@{host}:" in environment[variable]
                assert set(service["networks"]) & set(SERVICES[host]["networks"])


def test_only_flower_publishes_a_port_and_on_loopback_only() -> None:
    assert [name for name, service in SERVICES.items() if "ports" in service] == ["flower"]
    [port] = SERVICES["flower"]["ports"]
    assert port.startswith("127.0.0.1:")
    assert port.endswith(f":{SERVICES['flower']['environment']['OMNINODE_FLOWER_PORT']}")


@pytest.mark.parametrize("name", ["worker", "relay", "consume", "beat"])
def test_a_service_of_which_there_may_be_many_can_be_scaled(name: str) -> None:
    assert not {"container_name", "ports", "hostname", "volumes"} & set(SERVICES[name])


@pytest.mark.parametrize("name", ["worker", "consume"])
def test_who_stops_softly_is_given_longer_than_that(name: str) -> None:
    default = Settings.model_fields["soft_shutdown_s"].default
    assert seconds(SERVICES[name]["stop_grace_period"]) >= default + 10


def test_a_relay_is_given_the_time_that_its_batch_may_take_on_the_bus() -> None:
    default = Settings.model_fields["bus_timeout_s"].default
    assert seconds(SERVICES["relay"]["stop_grace_period"]) >= 3 * default + 10


def test_only_the_migrations_use_the_owner_of_the_tables() -> None:
    users = [
        re.match(r"postgresql://(\w+):", s["environment"].get("OMNINODE_DATABASE_URL", "")) for s in FLEET.values()
    ]
    named = {name: user[1] for name, user in zip(FLEET, users, strict=True) if user}
    owner, worker = named.pop("migrate"), set(named.values())
    assert (owner, worker) == ("omninode_owner", {"omninode_worker"})
    assert set(named) == {"worker", "relay", "beat"}


def test_every_password_comes_from_the_environment_and_its_lack_is_an_error() -> None:
    example = (CHECKOUT / ".env.example").read_text(encoding="utf-8")
    given = dict(line.split("=", 1) for line in example.splitlines() if line and not line.startswith("#"))
    used = {
        match["name"]: match["kind"] for match in INTERPOLATION.finditer(COMPOSE_TEXT) if "PASSWORD" in match["name"]
    }
    assert set(used.values()) == {"?"}
    assert set(given) == set(used)
    assert all(value.startswith("change-me") for value in given.values())


def test_every_optional_variable_stands_in_the_example_with_its_default() -> None:
    example = (CHECKOUT / ".env.example").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^#(\w+)=(.*)$", example, flags=re.MULTILINE))
    used = {match["name"]: match["rest"] for match in INTERPOLATION.finditer(COMPOSE_TEXT) if match["kind"] == "-"}
    assert shown == used


def test_the_images_are_of_the_versions_that_the_documentation_names() -> None:
    page = (CHECKOUT / "docs" / "deployment.md").read_text(encoding="utf-8")
    for name in ("postgres", "valkey"):
        assert f"`{SERVICES[name]['image']}`" in page
    assert SERVICES["postgres"]["image"] == "postgres:18"
    assert SERVICES["valkey"]["image"] == "valkey/valkey:9"


def test_the_broker_keeps_what_it_is_given() -> None:
    words = SERVICES["valkey"]["command"]
    options = dict(zip(words[1::2], words[2::2], strict=True))
    assert (options["--appendonly"], options["--appendfsync"]) == ("yes", "everysec")
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--requirepass"].startswith("${BROKER_PASSWORD:?")


def test_everything_the_image_copies_is_there_and_sent_to_the_builder() -> None:
    dockerfile = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    copied = [
        source for line in re.findall(r"^COPY (.+)$", dockerfile, flags=re.MULTILINE) for source in line.split()[:-1]
    ]
    ignored = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [line.removeprefix("!") for line in ignored if line.startswith("!")]
    assert "*" in ignored
    for source in copied:
        assert (CHECKOUT / source).exists(), source
    assert sorted(copied) == sorted(allowed)


def test_the_image_holds_every_package_that_the_command_needs() -> None:
    dockerfile = (CHECKOUT / "Dockerfile").read_text(encoding="utf-8")
    for package in ("omninode_bridge", "store", "tasks", "worker", "migrations"):
        assert f"COPY {package} {package}\n" in dockerfile


def test_the_image_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", (CHECKOUT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert users and not users[-1].startswith(("0", "root"))


def test_no_secret_is_sent_to_the_builder() -> None:
    patterns = (CHECKOUT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    allowed = [pattern.removeprefix("!") for pattern in patterns if pattern.startswith("!")]
    assert not [name for name in (".env", "fleet.env", ".fleet", ".git") for p in allowed if fnmatch.fnmatch(name, p)]
