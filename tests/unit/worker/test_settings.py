import os
import re
from pathlib import Path

import pytest
from pydantic import SecretStr

from tests.checkout import CHECKOUT
from worker.settings import Settings, SettingsError, child_environment, env_name, install, masked, settings

OPERATIONS = CHECKOUT / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith(("OMNINODE_", "FLEET_")):
            monkeypatch.delenv(name)


def test_every_setting_has_its_row_in_the_operations_page() -> None:
    written = re.findall(r"^\| `((?:OMNINODE|FLEET)_\w+)` \| (.*?) \| (.*?) \|$", OPERATIONS.read_text(), re.MULTILINE)
    assert written == [_row(field) for field in Settings.model_fields]


def _row(field: str) -> tuple[str, str, str]:
    info = Settings.model_fields[field]
    value = None if info.default_factory else info.default
    if isinstance(value, SecretStr):
        value = value.get_secret_value()
    if isinstance(value, bool):
        value = str(value).lower()
    shown = ",".join(value) if isinstance(value, tuple) else value
    assert info.description
    return env_name(field), "" if shown in (None, "") else f"`{shown}`", info.description


def test_a_setting_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNINODE_WORKER_THREADS", "7")
    monkeypatch.setenv("OMNINODE_WORKER_QUEUES", "persist, queries")
    monkeypatch.setenv("OMNINODE_LOG_LEVEL", "debug")
    monkeypatch.setenv("FLEET_PG_BIN", "/somewhere/bin")
    loaded = Settings.load()
    assert loaded.worker_threads == 7
    assert loaded.worker_queues == ("persist", "queries")
    assert loaded.log_level == "DEBUG"
    assert loaded.pg_bin == Path("/somewhere/bin")


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNINODE_WORKER_THREADS", "7")
    assert Settings.load(worker_threads=3).worker_threads == 3


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(Settings.load(), "worker_threads", 9)  # noqa: B010 - mypy knows that it is read-only


def test_everything_wrong_is_reported_at_once_by_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNINODE_WORKER_THREADS", "many")
    monkeypatch.setenv("OMNINODE_FLOWER_PORT", "70000")
    monkeypatch.setenv("OMNINODE_BROKER_URL", "http://:hunter2@host")
    monkeypatch.setenv("OMNINODE_POOL_MAXSIZE", "3")
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    message = str(caught.value)
    lines = [line.strip().partition(":")[0] for line in message.splitlines()[1:]]
    assert sorted(lines) == [
        "OMNINODE_BROKER_URL",
        "OMNINODE_FLOWER_PORT",
        "OMNINODE_POOL_MAXSIZE",
        "OMNINODE_WORKER_THREADS",
    ]
    assert "is OMNINODE_POOL_MAX_SIZE meant?" in message
    assert "hunter2" not in message


def test_missing_settings_are_named_together() -> None:
    with pytest.raises(SettingsError, match=r"(?s)OMNINODE_DATABASE_URL: missing.*OMNINODE_FLOWER_PASSWORD: missing"):
        Settings.load(require=("database_url", "flower_password"))
    with pytest.raises(SettingsError, match="OMNINODE_BROKER_URL"):
        Settings.load().require("broker_url")


def test_an_empty_variable_is_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNINODE_WORKER_THREADS", "")
    assert Settings.load().worker_threads == 2


def test_settings_that_contradict_each_other_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNINODE_POOL_MIN_SIZE", "9")
    monkeypatch.setenv("OMNINODE_PARTITIONS_DAYS_BACK", "2")
    with pytest.raises(SettingsError, match=r"POOL_MIN_SIZE is greater.*PARTITIONS_DAYS_BACK is less"):
        Settings.load()


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("HEARTBEAT_FRESH_S", "120", "HEARTBEAT_FRESH_S is not less than OMNINODE_HEARTBEAT_DEAD_S"),
        ("RETAIN_DEAD_LETTERS_DAYS", "7", "RETAIN_DEAD_LETTERS_DAYS is not greater than OMNINODE_LEDGER_HORIZON_DAYS"),
        ("PARTITIONS_DAYS_BACK", "9", "RETAIN_OPERATIONS_DAYS is less than OMNINODE_PARTITIONS_DAYS_BACK"),
        ("RETAIN_FSM_STATES_DAYS", "89", "RETAIN_FSM_STATES_DAYS is less than OMNINODE_RETAIN_FSM_TRANSITIONS_DAYS"),
        ("RETAIN_FSM_TRANSITIONS_DAYS", "0", "FSM_STATES_DAYS is less than OMNINODE_RETAIN_FSM_TRANSITIONS_DAYS"),
        ("RETENTION_PERCENT", "0", "RETENTION_PERCENT"),
        ("RETENTION_AT", "24:00", "RETENTION_AT"),
        ("STALL_FAILS", "batch", "STALL_FAILS: batch: must be workflow_type=seconds"),
        ("STALL_FAILS", "a=5,=7", "STALL_FAILS: =7: must be"),
        ("STALL_FAILS", "a=0,b=-1,c=1.5", "STALL_FAILS: a=0: must be .*; b=-1: must be .*; c=1.5: must be"),
        ("STALL_FAILS", "a=1234567890", "STALL_FAILS: a=1234567890: must be"),
        ("STALL_FAILS", "b=5, *=9, b =7", "STALL_FAILS: b: named twice"),
    ],
)
def test_what_would_remove_too_much_or_mean_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, said: str
) -> None:
    monkeypatch.setenv(f"OMNINODE_{variable}", value)
    with pytest.raises(SettingsError, match=said):
        Settings.load()


def test_what_is_kept_for_ever_is_longer_than_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMNINODE_RETAIN_OPERATIONS_DAYS", "0")
    monkeypatch.setenv("OMNINODE_RETAIN_FSM_STATES_DAYS", "0")
    monkeypatch.setenv("OMNINODE_STALL_FAILS", "batch_stamping = 7200 , other=60")
    loaded = Settings.load()
    assert loaded.retain_operations_days == 0 and loaded.stall_fails == ("batch_stamping=7200", "other=60")


def test_a_secret_may_lie_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "omninode_flower_password").write_text("from a file\n")
    monkeypatch.setenv("OMNINODE_SECRETS_DIR", str(tmp_path))
    assert Settings.load().flower_password.get_secret_value() == "from a file"
    monkeypatch.setenv("OMNINODE_SECRETS_DIR", str(tmp_path / "missing"))
    with pytest.raises(SettingsError, match="OMNINODE_SECRETS_DIR"):
        Settings.load()


def test_no_password_is_in_the_representation() -> None:
    loaded = Settings.load(
        database_url="postgresql://fleet:hunter2@db/fleet?sslpassword=hunter3",
        broker_url="sentinel://:hunter4@a:26379;sentinel://:hunter5@b:26379",
        flower_password="hunter6",
    )
    assert "hunter" not in repr(loaded) + str(loaded)
    assert "hunter4" in loaded.broker_url


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://fleet:a@b@db/x", "postgresql://fleet:***@db/x"),
        ("redis://:secret@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        (
            "postgresql://db/x?user=u&password=secret&sslmode=require",
            "postgresql://db/x?user=u&password=***&sslmode=require",
        ),
    ],
)
def test_a_masked_url_has_no_password(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_confirmations_lie_in_the_broker_unless_it_cannot_keep_them() -> None:
    assert Settings.load(broker_url="redis://h/0").result_backend_url == "redis://h/0"
    assert Settings.load(broker_url="amqp://h").result_backend_url == ""
    assert Settings.load(broker_url="amqp://h", result_backend_url="redis://r").result_backend_url == "redis://r"


def test_installed_settings_are_the_process_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.settings._installed", [])
    mine = Settings.load(worker_threads=2)
    install(mine)
    assert settings() is mine


def test_a_child_gets_our_environment_and_finds_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/elsewhere")
    child = child_environment({"OMNINODE_X": "1"})
    assert child["OMNINODE_X"] == "1"
    assert child["PYTHONPATH"].split(":") == [str(CHECKOUT), "/elsewhere"]
    assert "PATH" in child
