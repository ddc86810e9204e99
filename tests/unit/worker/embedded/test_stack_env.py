"""What fleet.env holds: a shell that has sourced it works by the fleet's settings."""

from pathlib import Path

import pytest

from worker.embedded.stack import StackEnv
from worker.settings import Settings

TOLD = {
    "OMNINODE_STALL_FAILS": "stamping=7200, *=86400",
    "OMNINODE_RETENTION_AT": "04:30",
    "OMNINODE_RETAIN_EVENT_LOGS_DAYS": "0",
    "OMNINODE_HEARTBEAT_FRESH_S": "2.5",
    "OMNINODE_LOG_CONSUMED_EVENTS": "false",
    "OMNINODE_CONSUME_TOPICS": r"^(.*[.])?a[.]b$,c",
}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in TOLD.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def variables_of(settings: Settings) -> dict[str, str]:
    env = StackEnv(
        data_dir=Path("/d"), database_url="postgresql://u:p@h/d", broker_url="redis://h", given=settings.given()
    )
    return env.variables()


def test_what_the_fleet_was_told_means_the_same_where_it_is_read_again(
    told: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = variables_of(told)
    for name in TOLD:
        monkeypatch.setenv(name, variables[name])
    again = Settings.load()
    assert {name: getattr(again, name) for name in told.model_fields_set} == {
        name: getattr(told, name) for name in told.model_fields_set
    }
    assert again.stall_fails == ("stamping=7200", "*=86400")


def test_what_lies_in_the_directory_of_secrets_is_told_but_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "omninode_retention_at").write_text("05:00")
    (tmp_path / "omninode_kafka_sasl_password").write_text("hush")
    monkeypatch.setenv("OMNINODE_SECRETS_DIR", str(tmp_path))
    variables = variables_of(Settings.load())
    assert variables["OMNINODE_RETENTION_AT"] == "05:00"
    assert variables["OMNINODE_SECRETS_DIR"] == str(tmp_path)
    assert "OMNINODE_KAFKA_SASL_PASSWORD" not in variables


def test_where_the_fleet_turned_out_to_be_wins_over_what_was_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNINODE_DATA_DIR", "/elsewhere")
    monkeypatch.setenv("OMNINODE_BROKER_URL", "redis://elsewhere")
    monkeypatch.setenv("OMNINODE_FLOWER_PORT", "7")
    variables = variables_of(Settings.load())
    assert (variables["OMNINODE_DATA_DIR"], variables["OMNINODE_BROKER_URL"]) == ("/d", "redis://h")
    assert "OMNINODE_FLOWER_PORT" not in variables


def test_what_nobody_told_is_not_written_down() -> None:
    assert set(variables_of(Settings.load())) == {
        "OMNINODE_DATABASE_URL",
        "OMNINODE_BROKER_URL",
        "OMNINODE_DATA_DIR",
    }
