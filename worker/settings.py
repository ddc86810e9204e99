"""Every setting of the fleet: the one place that reads the environment.

A setting `worker_threads` is the variable OMNINODE_WORKER_THREADS, or a file `omninode_worker_threads` in the directory
that OMNINODE_SECRETS_DIR names (the environment wins). What is wrong is reported by name, all of it at once. URLs may
hold passwords: `repr` shows them masked, and `masked(url)` is what logs get.
"""

import difflib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.errors import FleetError

ROOT = Path(__file__).resolve().parent.parent  # of the checkout
PREFIX = "OMNINODE_"
DATABASE_SCHEMES = ("postgresql", "postgres")
BROKER_SCHEMES = ("redis", "rediss", "sentinel", "amqp", "amqps")
BACKEND_SCHEMES = ("redis", "rediss", "sentinel")
BUS_SCHEMES = ("redis", "rediss", "kafka")


class SettingsError(FleetError):
    """One or more settings are wrong or missing; the message names each variable on a line of its own."""

    exit_code = 2


def masked(url: str) -> str:
    """The URL without its passwords, for logs and `repr`."""
    url = re.sub(r"(://[^:@/]*:).*@", r"\1***@", url)
    return re.sub(r"([?&;]\w*password=)[^&;]*", r"\1***", url)


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if url and (url.partition("://")[0] not in schemes or "://" not in url):
            raise ValueError(f"must be a URL that starts with one of {', '.join(f'{s}://' for s in schemes)}")
        return url

    return AfterValidator(check)


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _policies(entries: tuple[str, ...]) -> tuple[str, ...]:
    """Each as "type=seconds", without spaces around either; up to nine digits, which is 31 years."""
    pairs = [tuple(part.strip() for part in entry.rpartition("=")[::2]) for entry in entries]
    good = re.compile("[1-9][0-9]{0,8}")
    types = [workflow_type for workflow_type, _ in pairs]
    wrong = [
        f"{entry}: must be workflow_type=seconds"
        for entry, (workflow_type, seconds) in zip(entries, pairs, strict=True)
        if not (workflow_type and good.fullmatch(seconds))
    ]
    wrong += [f"{one}: named twice" for one in dict.fromkeys(types) if types.count(one) > 1]
    if wrong:
        raise ValueError("; ".join(wrong))
    return tuple("=".join(pair) for pair in pairs)


def _upper(value: object) -> object:
    return value.strip().upper() if isinstance(value, str) else value


def _backend(data: dict[str, Any]) -> str:
    broker: str = data.get("broker_url", "")
    return broker if broker.partition("://")[0] in BACKEND_SCHEMES else ""


def _bus(data: dict[str, Any]) -> str:
    broker: str = data.get("broker_url", "")
    is_redis = data.get("bus") == "redis" and broker.partition("://")[0] in ("redis", "rediss")
    return broker if is_redis else ""


DatabaseUrl = Annotated[str, _url(*DATABASE_SCHEMES)]
BrokerUrl = Annotated[str, _url(*BROKER_SCHEMES)]
BackendUrl = Annotated[str, _url(*BACKEND_SCHEMES)]
BusUrl = Annotated[str, _url(*BUS_SCHEMES)]
LogLevel = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]
KafkaProtocol = Annotated[Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"], BeforeValidator(_upper)]
Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), Field(min_length=1)]
Policies = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split), AfterValidator(_policies)]
Count = Annotated[int, Field(ge=1)]
Milliseconds = Annotated[int, Field(ge=1)]
Seconds = Annotated[float, Field(gt=0)]
Port = Annotated[int, Field(ge=1, le=65535)]
Days = Annotated[int, Field(ge=1)]
DaysMade = Annotated[int, Field(ge=1, le=366)]  # more the database does not make
Keep = Annotated[int, Field(ge=0)]  # days; 0 keeps for ever
TimeOfDay = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]


class Settings(BaseSettings):
    """The fleet's settings, frozen. An empty URL means "not given": `require` names those that a command needs."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    database_url: DatabaseUrl = Field("", description="PostgreSQL, 15 or newer; `fleet up` starts its own when empty")
    broker_url: BrokerUrl = Field("", description="Redis, Valkey or RabbitMQ; `fleet up` starts its own when empty")
    result_backend_url: BackendUrl = Field(
        default_factory=_backend, description="where confirmations lie; the broker itself, unless that is RabbitMQ"
    )
    broker_key_prefix: str = Field("", description="before every key in the broker; give one when it is shared")
    data_dir: Path = Field(Path(".fleet"), description="where `fleet up` keeps data, logs and secrets")
    secrets_dir: Path | None = Field(None, description="directory of files named like these variables, in lower case")

    flower_url: str = Field("", description="where Flower is reached; told to users, not used to bind")
    flower_host: str = Field("127.0.0.1", description="address that Flower binds")
    flower_port: Port = Field(5555, description="port that Flower binds; `fleet up` takes a free one when not given")
    flower_user: str = Field("fleet", min_length=1, pattern="^[^:]+$", description="Flower's login")
    flower_password: SecretStr = Field(
        SecretStr(""), description="Flower's password; without one Flower does not start; `fleet up` makes its own"
    )

    log_level: LogLevel = Field("INFO", description="DEBUG, INFO, WARNING, ERROR or CRITICAL")
    log_format: Literal["json", "console"] = Field("json", description="json (a line per record) or console")

    # Two keep a core busy: one computes while the other waits for PostgreSQL. More take turns at the interpreter.
    worker_threads: Count = Field(2, description="threads of one worker process")
    worker_queues: Names = Field(
        ("persist", "intents", "queries", "housekeeping", "celery"), description="queues a worker takes, by comma"
    )
    soft_shutdown_s: Seconds = Field(20, description="how long a stopping worker may finish what it has begun")

    pool_min_size: Count = Field(1, description="connections that a worker keeps open")
    pool_max_size: Count = Field(8, description="connections that a worker opens at most")
    pool_timeout_ms: Milliseconds = Field(2000, description="wait for a connection; longer counts as an outage")
    pool_exhaustion_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        90, description="pool use from which a warning is logged"
    )
    connect_timeout_s: Seconds = Field(5, description="limit of one connection attempt")
    statement_timeout_ms: Milliseconds = Field(30000, description="limit of one statement")
    lock_timeout_ms: Milliseconds = Field(2000, description="limit of one wait for a lock")
    idle_in_transaction_timeout_ms: Milliseconds = Field(30000, description="limit of an idle open transaction")

    breaker_failure_threshold: Count = Field(5, description="consecutive outages that open the breaker")
    breaker_window_s: Seconds = Field(30, description="time within which they must fall")
    breaker_open_s: Seconds = Field(60, description="open for this long at most, then half-open")
    breaker_probe_interval_s: Seconds = Field(1, description="time between probes while open")
    breaker_half_open_max_calls: Count = Field(3, description="trial calls while half-open")
    breaker_half_open_successes: Count = Field(2, description="successes among them that close the breaker")

    future_limit_s: Seconds = Field(3600, description="an operation further ahead of the database's clock is refused")
    ledger_horizon_days: Days = Field(7, description="how long the ledger remembers an operation's id")
    partitions_days_back: DaysMade = Field(8, description="day partitions kept ready behind today")
    partitions_days_ahead: DaysMade = Field(3, description="day partitions kept ready ahead of today")
    log_consumed_events: bool = Field(True, description="write consumed events to event_logs too")

    client_max_pending: Count = Field(100000, description="unconfirmed operations a client holds before it blocks")
    client_linger_ms: Annotated[int, Field(ge=0, le=1000)] = Field(5, description="wait for a batch to fill")
    client_batch_operations: Annotated[int, Field(ge=1, le=1000)] = Field(500, description="operations in a message")
    client_batch_bytes: Annotated[int, Field(ge=1024, le=4 << 20)] = Field(262144, description="bytes in a message")
    result_expires_s: Count = Field(3600, description="how long the broker keeps a confirmation")

    environment: Literal["development", "staging", "production"] = Field(
        "development", description="written into envelopes; chooses Kafka's compression, linger and message size"
    )
    bus: Literal["redis", "kafka"] = Field("redis", description="the event bus: Redis streams or Kafka")
    bus_url: BusUrl = Field(
        default_factory=_bus,
        description="redis://, rediss:// or kafka://host:port,host:port; the broker itself, where that is Redis",
    )
    bus_partitions: Annotated[int, Field(ge=1, le=256)] = Field(
        4, description="streams that a new topic gets on the Redis bus"
    )
    bus_claim_idle_s: Seconds = Field(
        30, description="what a silent consumer holds is given to another after this time; on Kafka after 10 s at most"
    )
    bus_retention_hours: Annotated[float, Field(gt=0)] = Field(
        168, description="how long the Redis bus keeps records of a topic that no group reads"
    )
    bus_timeout_s: Seconds = Field(10, description="how long the bus may take over one batch before it counts as away")
    bus_max_message_bytes: Annotated[int, Field(ge=1024)] | None = Field(
        None, description="largest event; by environment when not given: 256 KiB, 512 KiB, 1 MiB"
    )
    kafka_security_protocol: KafkaProtocol | None = Field(
        None, description="how to talk to Kafka; the URL's query may say it as well"
    )
    kafka_sasl_mechanism: str = Field("", description="PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512")
    kafka_sasl_username: str = Field("", description="login at Kafka")
    kafka_sasl_password: SecretStr = Field(SecretStr(""), description="password at Kafka")
    kafka_ssl_ca_location: Path | None = Field(None, description="certificates that Kafka's must be signed by")

    relay_batch: Annotated[int, Field(ge=1, le=5000)] = Field(500, description="events that a relay publishes at once")
    relay_sweep_s: Seconds = Field(1, description="how often a relay looks for events that nobody nudged it for")
    publish_wait_ms: Annotated[int, Field(ge=0, le=10_000)] = Field(
        100, description="how long the answer to intents waits until their events are on the bus"
    )
    consume_group: str = Field("database_adapter_consumers", min_length=1, description="the consumer group")
    consume_topics: Names = Field(
        (r"^(.*[.])?omninode[_-]bridge[.].*$",),
        description="topics that `fleet consume` reads, by comma; one that begins with ^ is a regular expression",
    )
    consume_max_records: Count = Field(5000, description="records a consumer has under way before it stops reading")
    recover_within_days: Days = Field(7, description="how far back RecoverFSMStates looks")
    recover_limit: Annotated[int, Field(ge=1, le=10_000)] = Field(10_000, description="workflows in one answer")
    recover_timeout_ms: Milliseconds = Field(2000, description="after this time its answer is partial")

    heartbeat_fresh_s: Seconds = Field(60, description="a node heard of within this time is FRESH")
    heartbeat_dead_s: Seconds = Field(120, description="one not heard of for longer is DEAD; between the two, STALE")
    heartbeat_sweep_s: Seconds = Field(15, description="time between two sweeps for stale heartbeats")
    fsm_recovery_s: Seconds = Field(60, description="time between two recoveries of workflows from their transitions")
    fsm_recovery_after_s: Seconds = Field(300, description="how long a workflow lags behind before it is recovered")
    stalled_after_s: Seconds = Field(3600, description="a workflow without any operation for so long is reported")
    stall_fails: Policies = Field(
        (), description="workflow_type=seconds, by comma: stalled for so long, one of that type is set to FAILED"
    )
    retention_at: TimeOfDay = Field("03:00", description="when old rows are removed, every day, UTC")
    retention_percent: Annotated[int, Field(ge=1, le=100)] = Field(
        20, description="share of one connection's time that removing rows takes"
    )
    schedule_slice_s: Seconds = Field(20, description="how long one task of a schedule works before it lets others in")
    retain_operations_days: Keep = Field(8, description="how long the ledger's rows are kept; 0 here and below: always")
    retain_workflow_steps_days: Keep = Field(90, description="how long steps are kept")
    retain_fsm_transitions_days: Keep = Field(90, description="how long transitions are kept; their state stays longer")
    retain_event_logs_days: Keep = Field(30, description="how long events are kept; those that wait to go out, always")
    retain_workflow_executions_days: Keep = Field(180, description="how long ended workflows are kept")
    retain_metadata_stamps_days: Keep = Field(
        365, description="how long stamps are kept, and with them their workflows"
    )
    retain_fsm_states_days: Keep = Field(365, description="how long states are kept whose workflow is gone")
    retain_dead_letters_days: Keep = Field(90, description="how long settled dead letters are kept; open ones, always")
    retain_node_registrations_days: Keep = Field(30, description="how long nodes are kept that are gone or silent")
    retain_schedule_ticks_days: Keep = Field(30, description="how long the record of what schedules did is kept")
    default_rows_alert: Count = Field(1000, description="rows in a default partition from which an alert is raised")

    pg_bin: Path | None = Field(
        None, validation_alias="FLEET_PG_BIN", description="bin directory of an own PostgreSQL for `fleet up`"
    )
    broker_bin: Path | None = Field(
        None, validation_alias="FLEET_BROKER_BIN", description="an own valkey-server or redis-server for `fleet up`"
    )

    @model_validator(mode="after")
    def _agree(self) -> Self:
        wrong = []
        if self.pool_min_size > self.pool_max_size:
            wrong.append(f"{env_name('pool_min_size')} is greater than {env_name('pool_max_size')}")
        if self.breaker_half_open_successes > self.breaker_half_open_max_calls:
            names = env_name("breaker_half_open_successes"), env_name("breaker_half_open_max_calls")
            wrong.append("{} is greater than {}".format(*names))
        if self.partitions_days_back < self.ledger_horizon_days:
            wrong.append(f"{env_name('partitions_days_back')} is less than {env_name('ledger_horizon_days')}")
        if self.heartbeat_fresh_s >= self.heartbeat_dead_s:
            wrong.append(f"{env_name('heartbeat_fresh_s')} is not less than {env_name('heartbeat_dead_s')}")
        wrong += self._kept_too_briefly()
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _kept_too_briefly(self) -> list[str]:
        """What is removed while the ledger answers for it, or as soon as its day is made, or before what it sums up."""
        kept = {name: getattr(self, name) for name in type(self).model_fields if name.startswith("retain_")}
        horizon = [name for name, days in kept.items() if 0 < days <= self.ledger_horizon_days]
        by_day = ("operations", "workflow_steps", "fsm_transitions", "event_logs")
        made = [
            name for name in (f"retain_{table}_days" for table in by_day) if 0 < kept[name] < self.partitions_days_back
        ]
        states, transitions = "retain_fsm_states_days", "retain_fsm_transitions_days"
        outlived = kept[states] > 0 and not 0 < kept[transitions] <= kept[states]
        return [
            *(f"{env_name(name)} is not greater than {env_name('ledger_horizon_days')}" for name in horizon),
            *(f"{env_name(name)} is less than {env_name('partitions_days_back')}" for name in made),
            *([f"{env_name(states)} is less than {env_name(transitions)}"] if outlived else []),
        ]

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        for name, value in super().__repr_args__():
            yield name, masked(value) if isinstance(value, str) else value

    @classmethod
    def load(cls, *, require: Iterable[str] = (), **given: Any) -> Self:
        """Read the environment; `given` wins over it; the fields named in `require` must not be empty.

        Raises: SettingsError, with every wrong, missing or misspelt variable in it.
        """
        directory = given.get("secrets_dir") or os.environ.get(f"{PREFIX}SECRETS_DIR")
        if directory and not Path(directory).is_dir():
            raise SettingsError(f"settings:\n  {PREFIX}SECRETS_DIR: {directory} is no directory")
        problems = _misspelt()
        try:
            loaded = cls(_secrets_dir=directory or None, **given)
        except ValidationError as error:
            raise _report(problems + _explain(error)) from None
        problems += [f"{env_name(name)}: missing" for name in loaded.missing(*require)]
        if problems:
            raise _report(problems)
        return loaded

    def given(self) -> dict[str, str]:
        """What was told by the environment or the directory of secrets, as variables; what is secret is left out."""
        known = {env_name(name): getattr(self, name) for name in self.model_fields_set}
        return {name: _as_text(value) for name, value in known.items() if not isinstance(value, SecretStr)}

    def missing(self, *names: str) -> list[str]:
        """Those of the named fields that have no value."""
        values = ((name, getattr(self, name)) for name in names)
        return [n for n, v in values if not (v.get_secret_value() if isinstance(v, SecretStr) else v)]

    def require(self, *names: str) -> Self:
        """Itself, when the named fields have values. Raises: SettingsError with all the missing ones."""
        if missing := self.missing(*names):
            raise _report([f"{env_name(name)}: missing" for name in missing])
        return self


def env_name(field: str) -> str:
    """The variable that a field is read from."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else PREFIX + field.upper()


def _as_text(value: object) -> str:
    """As it stands in the environment, wherever that is read from."""
    if isinstance(value, tuple):
        return ",".join(str(one) for one in value)
    if isinstance(value, bool):
        return str(value).lower()
    return str(value.absolute() if isinstance(value, Path) else value)


def _report(problems: list[str]) -> SettingsError:
    return SettingsError("settings:\n" + "\n".join(f"  {problem}" for problem in problems))


def _explain(error: ValidationError) -> list[str]:
    lines = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        if item["type"] == "default_factory_not_called":  # follows from another wrong field, which is listed itself
            continue
        field = str(item["loc"][0]) if item["loc"] else ""
        name = env_name(field) if field in Settings.model_fields else field
        text = item["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {text}" if name else text)
    return lines


def _misspelt() -> list[str]:
    """Variables that are almost, but not quite, one that is read. Others with the prefix may be somebody else's."""
    known = {env_name(field) for field in Settings.model_fields}
    unknown = (name for name in os.environ if name.upper().startswith(PREFIX) and name.upper() not in known)
    near = ((name, difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.93)) for name in sorted(unknown))
    return [f"{name}: unknown; is {match[0]} meant?" for name, match in near if match]


_installed: list[Settings] = []


def settings() -> Settings:
    """The process's settings, read once, at the first call."""
    if not _installed:
        _installed.append(Settings.load())
    return _installed[0]


def install(value: Settings) -> None:
    """Make `value` the process's settings: for a program that starts its own services and learns their URLs then."""
    _installed[:] = [value]


def child_environment(variables: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with `variables` over it, for a command of this checkout that it starts."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **variables}
