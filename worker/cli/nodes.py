"""`fleet nodes [show]`: who is there; `fleet nodes register|deregister`: what a node says of itself, by hand.

The last two write to OMNINODE_DATABASE_URL, by what the adapters end in; no worker has to run.
"""

import asyncio
import shlex
from collections.abc import Callable, Coroutine
from typing import Any

import click
import orjson
from click.core import ParameterSource

from omninode_bridge.contract.enums import EnumHealthStatus, EnumLiveness
from omninode_bridge.persistence.entities import ModelNodeHeartbeat
from omninode_bridge.persistence.models import (
    MAX_LIMIT,
    ModelDatabaseOperationInput,
    ModelDatabaseOperationOutput,
    request_of,
)
from omninode_bridge.persistence.node_registry import deregister_node, register_node
from omninode_bridge.persistence.protocols import DatabaseAdapterProtocol
from store.generic import carry_out
from worker.cli.connection import Connection, command_connection
from worker.cli.queries import JSON, TIMEOUT_MS, ask, show
from worker.database import limits
from worker.settings import Settings

Write = Callable[[DatabaseAdapterProtocol], Coroutine[Any, Any, ModelNodeHeartbeat]]


@click.group("nodes", invoke_without_command=True)
@click.option("--type", "node_type", help="Only nodes of this type.")
@click.option("--namespace", help="Only nodes of this namespace.")
@click.option("--max-age", "max_age_s", type=float, metavar="SECONDS", help="Only nodes heard of within this time.")
@click.option("--all", "every", is_flag=True, help="Also those that are not healthy or are silent; by id.")
@click.option("--liveness", type=click.Choice(EnumLiveness, case_sensitive=False), help="Of all, only these.")
@click.option(
    "--health", type=click.Choice(EnumHealthStatus, case_sensitive=False), help="Of all, only these: as of now."
)
@click.option("--deregistered", "include_deregistered", is_flag=True, help="All, and those that deregistered.")
@click.option("--after", metavar="ID", help="Begin behind this node.")
@click.option("--limit", type=click.IntRange(1, MAX_LIMIT), default=MAX_LIMIT, show_default=True)
@JSON
@click.pass_context
def nodes_command(context: click.Context, /, every: bool, limit: int, as_json: bool, **given: Any) -> None:
    """Nodes that are healthy: they said so, and were heard of lately (OMNINODE_HEARTBEAT_FRESH_S)."""
    if context.invoked_subcommand is not None:
        _refuse_options(context, context.invoked_subcommand)
        return
    name, asked = _question(every=every, **given)
    answer = ask(name, **asked, limit=limit)
    show(name, answer, as_json=as_json)
    if answer["truncated"]:  # on stderr: what is on stdout may be read by a program
        click.echo(f"There are more: --after {_word(answer['items'][-1]['node_id'])}", err=True)


def _refuse_options(context: click.Context, subcommand: str) -> None:
    """Those of the list, given before a subcommand, would be lost without a word."""
    for parameter in context.command.params:
        if context.get_parameter_source(parameter.name or "") is ParameterSource.COMMANDLINE:
            raise click.UsageError(f"{parameter.opts[0]}: belongs to the list; options of {subcommand} come after it")


def _question(
    *, every: bool, max_age_s: float | None, after: str | None, include_deregistered: bool, **filters: Any
) -> tuple[str, dict[str, Any]]:
    """The report that is asked, and its parameters but for the limit."""
    of_all = {name: filters.pop(name) for name in ("liveness", "health")}
    if not (every or include_deregistered or any(of_all.values())):
        return "healthy_nodes", {**filters, "max_age_s": max_age_s, "after": after}
    if max_age_s is not None:
        raise click.UsageError("--max-age: of healthy nodes only, and not of all")
    return "list_nodes", {**filters, **of_all, "include_deregistered": include_deregistered, "after": after}


@nodes_command.command("show")
@click.argument("node_id", metavar="ID")
@JSON
def show_command(node_id: str, as_json: bool) -> None:
    """One node with all that it told, deregistered or not."""
    show("get_node", ask("get_node", node_id=node_id), as_json=as_json)


@nodes_command.command("register")
@click.argument("node_id", metavar="ID")
@click.option("--type", "node_type", required=True)
@click.option("--version", "node_version")
@click.option("--capability", "capabilities", multiple=True, metavar="NAME[=JSON]", help="Without JSON it is true.")
@click.option("--endpoint", "endpoints", multiple=True, metavar="NAME=URL")
@click.option("--url", "endpoint_url", help="Where the node is called.")
@click.option("--namespace")
@click.option(
    "--health", "health_status", help="Not given: as it is, and HEALTHY of a new node or one that comes back."
)
@click.option("--metadata", metavar="JSON", help="An object.")
@JSON
def register_command(
    node_id: str,
    capabilities: tuple[str, ...],
    endpoints: tuple[str, ...],
    metadata: str | None,
    as_json: bool,
    **told: Any,
) -> None:
    """Register a node, or tell of one anew; a sign of life. What is not given stays as it is."""
    told |= {
        "capabilities": dict(map(_capability, capabilities)) or None,
        "endpoints": dict(map(_endpoint, endpoints)) or None,
        "metadata": None if metadata is None else _object("metadata", metadata),
    }
    row = _write(lambda node: register_node(node_id=node_id, node=node, **told))
    _show(row, "registered", as_json=as_json)


@nodes_command.command("deregister")
@click.argument("node_id", metavar="ID")
@JSON
def deregister_command(node_id: str, as_json: bool) -> None:
    """Hide a node from lists and discovery, until it registers or says something again."""
    row = _write(lambda node: deregister_node(node_id=node_id, node=node))
    if row.deregistered_at is None:
        raise click.ClickException(f"{_printable(row)} stays registered: its last heartbeat is of a time yet to come")
    _show(row, "deregistered", as_json=as_json)


def _write(write: Write) -> ModelNodeHeartbeat:
    """The row that was written. An OnexError ends the command, in one line."""
    with command_connection() as conn:
        return asyncio.run(write(_OneConnection(conn)))


class _OneConnection:
    """An adapter that carries each operation out here and now, for a command that has one."""

    def __init__(self, conn: Connection) -> None:
        self._conn, self._limits = conn, limits(Settings.load())

    async def process(self, operation_input: ModelDatabaseOperationInput, /) -> ModelDatabaseOperationOutput:
        request, id_ = request_of(operation_input), operation_input.operation_id
        answer = carry_out.carry_out(self._conn, request, operation_id=id_, limits=self._limits, timeout_ms=TIMEOUT_MS)
        return ModelDatabaseOperationOutput(**answer)


def _show(row: ModelNodeHeartbeat, done: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(orjson.dumps(row.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
    else:
        click.echo(f"{done}: {_printable(row)}")


def _printable(row: ModelNodeHeartbeat) -> str:
    return ascii(row.node_id)[1:-1]


def _word(node_id: str) -> str:
    """As a shell reads it; of an id with signs that a terminal obeys, its escapes."""
    return shlex.quote(node_id) if node_id.isprintable() else ascii(node_id)


def _capability(word: str) -> tuple[str, Any]:
    name, sign, value = word.partition("=")
    return _named(name, word), _json(f"--capability {name}", value) if sign else True


def _endpoint(word: str) -> tuple[str, str]:
    name, sign, url = word.partition("=")
    if not sign or not url:
        raise click.UsageError(f"--endpoint {word}: not NAME=URL")
    return _named(name, word), url


def _named(name: str, word: str) -> str:
    if not name:
        raise click.UsageError(f"{word}: no name before the =")
    return name


def _object(name: str, value: str) -> dict[str, Any]:
    read = _json(f"--{name}", value)
    if not isinstance(read, dict):
        raise click.UsageError(f"--{name}: not a JSON object")
    return read


def _json(where: str, value: str) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise click.UsageError(f"{where}: not JSON") from None
