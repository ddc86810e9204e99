"""`fleet dlq list|show|retry|discard`: dead letters; `fleet dlq unreadable`: messages that were no task."""

import dataclasses
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID

import click
import orjson
from rich.console import Console
from rich.table import Table

from omninode_bridge.contract.errors import OnexError
from omninode_bridge.contract.refusal import is_cut
from store import letters
from store.letters import Letter, LetterStatus
from worker.cli.connection import Connection, command_connection
from worker.database import limits
from worker.settings import Settings

if TYPE_CHECKING:  # Celery takes a while to import: not for every `fleet dlq`
    from worker.incoming.unreadable import Shelf, UnreadableMessage

STATUSES = ("open", "retried", "discarded", "all")


@click.group("dlq")
def dlq_command() -> None:
    """Work on dead letters: what was refused, and why."""


@dlq_command.command("list")
@click.option("--status", type=click.Choice(STATUSES), default="open", show_default=True)
@click.option("--code", help="Only letters of this code, such as VALIDATION_ERROR.")
@click.option("--limit", "rows_limit", type=click.IntRange(1, 100_000), default=50, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def list_command(status: str, code: str | None, rows_limit: int, as_json: bool) -> None:
    """The newest dead letters."""
    wanted: LetterStatus | None = None if status == "all" else status  # type: ignore[assignment]  # click.Choice
    with command_connection() as conn:
        found = letters.list_letters(conn, status=wanted, code=code, rows_limit=rows_limit)
    if as_json:
        for letter in found:
            click.echo(_json(letter))
        return
    table = Table(title=f"{len(found)} dead letters ({status})", title_justify="left")
    for column in ("id", "digest", "type", "topic", "key", "code", "message", "created", "status"):
        table.add_column(column, no_wrap=column in ("id", "digest"), overflow="fold")
    for letter in found:
        created = letter.created_at.isoformat(sep=" ", timespec="seconds")
        table.add_row(
            str(letter.id),
            letter.digest[:8],
            letter.operation_type or "-",
            letter.topic or "-",
            letter.partition_key or "-",
            letter.code,
            letter.message,
            created,
            letter.status,
        )
    Console(width=None if Console().is_terminal else 200).print(table)


@dlq_command.command("show")
@click.argument("id_", metavar="ID", type=click.UUID)
@click.option("--digest", help="Which one, where the id has several (its first digits are enough).")
@click.option("--payload-only", is_flag=True, help="Only the payload, to be repaired and given to retry.")
def show_command(id_: UUID, digest: str | None, payload_only: bool) -> None:
    """One dead letter, whole, as JSON."""
    with command_connection() as conn:
        letter = letters.find(conn, id_, digest)
    click.echo((letter.payload or "").encode() if payload_only else _json(letter, indent=True))
    if is_cut(letter.payload or ""):
        click.echo("payload: only its beginning was kept; it cannot be retried as it is", err=True)


@dlq_command.command("retry")
@click.argument("ids", metavar="ID...", type=click.UUID, nargs=-1)
@click.option("--digest", help="Which one, where the id has several.")
@click.option("--payload", type=click.File("rb"), help="A file (or -) with the repaired payload, JSON; for one ID.")
@click.option("--all", "every", is_flag=True, help="Every open letter (of --code), the oldest first.")
@click.option("--code", help="With --all: only letters of this code.")
def retry_command(
    ids: tuple[UUID, ...], digest: str | None, payload: BinaryIO | None, every: bool, code: str | None
) -> None:
    """Apply what was refused, as it is or repaired, under its own id; an event goes out again."""
    if payload is not None and (every or len(ids) != 1):
        raise click.UsageError("--payload goes with exactly one ID")
    settings = Settings.load(require=["database_url"])
    repaired = None if payload is None else _text(payload)
    with command_connection() as conn:
        failed = 0
        for id_, its_digest in _chosen(conn, ids, digest, every=every, code=code):
            try:
                letter = letters.find(conn, id_, its_digest)
                operation_id = letters.retry(conn, letter, payload=repaired, limits=limits(settings))
                done = "goes out again" if letter.form == "event" else f"applied as {operation_id}"
                click.echo(f"{id_} {done}")
            except OnexError as error:
                failed += 1
                click.echo(f"{id_} still refused: {error}", err=True)
    raise SystemExit(1 if failed else 0)


@dlq_command.command("discard")
@click.argument("ids", metavar="ID...", type=click.UUID, nargs=-1)
@click.option("--digest", help="Which one, where the id has several.")
@click.option("--all", "every", is_flag=True, help="Every open letter (of --code).")
@click.option("--code", help="With --all: only letters of this code.")
def discard_command(ids: tuple[UUID, ...], digest: str | None, every: bool, code: str | None) -> None:
    """Say that letters need no more work; their rows stay."""
    with command_connection() as conn:
        for letter in _chosen(conn, ids, digest, every=every, code=code):
            letters.discard(conn, letters.find(conn, *letter))
            click.echo(f"{letter[0]} discarded")


def _chosen(
    conn: Connection, ids: tuple[UUID, ...], digest: str | None, *, every: bool, code: str | None
) -> list[tuple[UUID, str]]:
    """Id and digest of all that were named, once every one of them is found; or of every open one."""
    if every == bool(ids):
        raise click.UsageError("name the IDs, or say --all")
    if every:
        return letters.open_in_order(conn, code=code)
    return [(id_, letters.find(conn, id_, digest).digest) for id_ in ids]


def _text(file: BinaryIO) -> str:
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"payload: not UTF-8: {error.reason} at byte {error.start}") from None


def _json(letter: Letter, *, indent: bool = False) -> bytes:
    return orjson.dumps(dataclasses.asdict(letter), option=orjson.OPT_INDENT_2 if indent else 0)


# ---- messages that were no task --------------------------------------------------------------------------------------


@dlq_command.command("unreadable")
@click.argument("ids", metavar="[ID]...", nargs=-1)
@click.option("--discard", is_flag=True, help="Remove those of the IDs, or all.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the message's beginning.")
def unreadable_command(ids: tuple[str, ...], discard: bool, as_json: bool) -> None:
    """Messages on the queues that were no task of the fleet: the newest 500, in the broker.

    With an ID: that one, with its first 64 KiB.
    """
    with _shelf() as shelf:
        kept = shelf.messages()
        unknown = [id_ for id_ in ids if id_ not in {message.id for message in kept}]
        if unknown:
            raise click.ClickException(f"no such message: {' '.join(json.dumps(id_) for id_ in unknown)}")
        if discard:
            click.echo(f"{shelf.discard(ids or None)} discarded")
            return
    wanted = [message for message in kept if not ids or message.id in ids]
    if as_json or ids:
        for message in wanted:
            click.echo(_message_json(message, indent=None if as_json else 2))
    else:
        _show_messages(wanted)


@contextmanager
def _shelf() -> Iterator["Shelf"]:
    settings = Settings.load(require=["broker_url"])
    from kombu.exceptions import OperationalError

    from worker.app import make_app
    from worker.incoming.unreadable import open_shelf

    try:
        with open_shelf(make_app(settings)) as shelf:
            yield shelf
    except OperationalError as error:
        first_line = (str(error).splitlines() or [type(error).__name__])[0]
        raise click.ClickException(f"broker: {first_line[:160]}") from error


def _show_messages(messages: list["UnreadableMessage"]) -> None:
    table = Table(title=f"{len(messages)} unreadable messages", title_justify="left")
    for column in ("id", "set aside", "queue", "bytes", "reason"):
        table.add_column(column, no_wrap=column == "id", overflow="fold")
    for message in messages:
        table.add_row(message.id, message.at, message.queue, f"{message.size_bytes:,}", message.reason)
    Console(width=None if Console().is_terminal else 200).print(table, markup=False)


def _message_json(message: "UnreadableMessage", *, indent: int | None) -> str:
    """Every sign that is not ASCII escaped: what a stranger wrote does nothing to a terminal."""
    told = dataclasses.asdict(message) | {"head": message.head.decode(errors="backslashreplace")}
    return json.dumps(told, indent=indent).replace("\x7f", "\\u007f")
