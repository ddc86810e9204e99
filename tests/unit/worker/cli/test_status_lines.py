"""What `fleet status` says of the outbox."""

from store.outbox.outbox import OutboxDepth
from worker.cli.status import outbox_line


def test_an_empty_outbox_is_one_quiet_line() -> None:
    assert outbox_line(OutboxDepth(pending=0, oldest_s=None, refused=0)) == "outbox: 0 events wait"


def test_what_was_refused_is_told() -> None:
    line = outbox_line(OutboxDepth(pending=1200, oldest_s=0.4, refused=3))
    assert line == "outbox: 1,200 events wait, the first for 0 s; 3 refused by the bus"


def test_a_backlog_of_more_than_a_minute_stands_out() -> None:
    assert "[" not in outbox_line(OutboxDepth(pending=5, oldest_s=60, refused=0))
    late = outbox_line(OutboxDepth(pending=5, oldest_s=61, refused=0))
    assert late.startswith("[bold red]outbox: 5 events wait, the first for 61 s: is a relay running")
