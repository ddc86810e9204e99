"""`fleet publish FILE|-`: records from a file on the bus."""

import time
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO, NamedTuple

import click

from omninode_bridge.bus.records import parsed
from omninode_bridge.client.backoff import Backoff
from omninode_bridge.contract.json_text import payload_text
from worker.bus import Bus, BusMessage, open_bus
from worker.errors import FleetError
from worker.settings import Settings

BATCH_RECORDS = 500
TRIES = 5
AGAIN = Backoff(first_s=0.2, most_s=2)


class Line(NamedTuple):
    """A line of the file. `problem` says why it was not published, if it was not."""

    number: int
    message: BusMessage
    problem: str = ""


@click.command("publish")
@click.option("--bus", type=click.Choice(["redis", "kafka"]), help="The event bus.  [default: OMNINODE_BUS]")
@click.argument("file", type=click.File("rb"))
def publish_command(bus: str | None, file: BinaryIO) -> None:
    """Put records, one JSON object a line, on the event bus, and wait until it has each.

    A line is {"topic", "key", "value"}; `value` is an object, or a string for a record whose bytes are no JSON. Exit
    code 0 when all are published; each one that is not is told by its line.
    """
    settings = Settings.load(**({"bus": bus} if bus else {}))
    opened = open_bus(settings)
    published = refused = 0
    try:
        for line in publish(opened, lines_of(file), timeout_s=settings.bus_timeout_s):
            if line.problem:
                refused += 1
                click.echo(f"line {line.number}: {line.problem}", err=True)
            else:
                published += 1
    finally:
        opened.close()
        click.echo(f"{published} published, {refused} refused")
    raise SystemExit(1 if refused else 0)


def lines_of(file: Iterable[bytes]) -> Iterator[Line]:
    """Every line that is not blank."""
    for number, text in enumerate(file, start=1):
        if text.strip():
            yield _line(number, text.strip())


def publish(bus: Bus, lines: Iterable[Line], *, timeout_s: float) -> Iterator[Line]:
    """Publish in order; gives each line back, with its problem.

    Raises FleetError when the bus stays away; what was given back by then is published.
    """
    remaining = iter(lines)
    while batch := list(islice(remaining, BATCH_RECORDS)):
        tries = 0
        while batch:
            done = _publish_some(bus, batch, timeout_s=timeout_s)
            yield from done
            batch = batch[len(done) :]
            if batch:
                tries = 1 if done else tries + 1
                if tries == TRIES:
                    raise FleetError(f"line {batch[0].number}: the bus is away")
                time.sleep(AGAIN.delay_s(tries))


def _publish_some(bus: Bus, batch: list[Line], *, timeout_s: float) -> list[Line]:
    """Those before the first one that the bus is away for: from there on, all is published again, in its order."""
    good = [line.message for line in batch if not line.problem]
    deliveries = iter(bus.publish(good, timeout_s=timeout_s))
    done: list[Line] = []
    for line in batch:
        if not line.problem:
            status, reason = next(deliveries)
            if status == "away":
                break
            line = line._replace(problem=(reason or "refused") if status == "refused" else "")
        done.append(line)
    return done


def _line(number: int, text: bytes) -> Line:
    record = parsed(text.decode(errors="backslashreplace"))
    if not isinstance(record, dict):
        return Line(number, _NONE, "not a JSON object")
    topic, key = record.get("topic"), record.get("key") or ""
    if not isinstance(topic, str) or not isinstance(key, str) or "value" not in record:
        return Line(number, _NONE, "topic, key, value: missing, or topic or key is not text")
    value = record["value"] if isinstance(record["value"], str) else payload_text(record["value"])
    return Line(number, BusMessage(topic, key, value.encode(errors="backslashreplace")))


_NONE = BusMessage("", "", b"")
