"""Many workflows at once: what failed, where time goes, which moves end in failure."""

from typing import Any

from psycopg import Connection

from store.reports.lists import listed
from store.reports.parameters import USUAL, Given, Terms, check_names, hours_of, limit_of


def find_failed_workflows(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """Workflows that failed within `time_range_hours`, the latest first, at most `limit`.

    `failed_at` is their completion; of one that names none, the time at which it became known.
    """
    return _items(conn, "failed_workflows", given, terms)


def step_timing(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """Steps completed within `time_range_hours`, by name and type, the slowest first, at most `limit` groups.

    A step's time is what it said, else from its start to its completion; those that tell neither are only counted.
    """
    return _items(conn, "step_timing", given, terms, by_day=("workflow_steps", "any_step_timing"))


def transition_failures(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """Moves to FAILED within `time_range_hours`, by the state that they came from, the most frequent first."""
    return _items(conn, "transition_failures", given, terms, by_day=("fsm_transitions", "any_transition_failures"))


def _items(
    conn: Connection[Any], name: str, given: Given, terms: Terms, *, by_day: tuple[str, str] | None = None
) -> dict[str, Any]:
    check_names(given, "time_range_hours", "limit")
    question = {"within": hours_of(given), "rows_limit": limit_of(given), **terms.bounds}
    return listed(conn, name, question, by_day=by_day)
