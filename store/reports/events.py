"""Events as they followed each other, and those that tell of an error."""

from typing import Any

from psycopg import Connection

from omninode_bridge.persistence.models import MAX_LIMIT
from store.database.statements import statements_beside
from store.reports.days import concerned
from store.reports.lists import listed
from store.reports.parameters import USUAL, Given, Terms, check_names, hours_of, limit_of, uuid_of

statement = statements_beside(__file__)


def session_events(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """The events of `session_id` within `time_range_hours`: how many, of which types, over how long, and one by one.

    Each of `timeline` has `time_diff_ms`, the time since the one before it. `truncated`: there are more than it shows.
    """
    check_names(given, "session_id", "time_range_hours")
    session_id = uuid_of(given, "session_id")
    question = {"session_id": session_id, "within": hours_of(given), "rows_limit": MAX_LIMIT, **terms.bounds}
    days = concerned(conn, "event_logs", statement("any_session_events"), question)
    told = conn.execute(statement("session_events"), question | days, prepare=False).fetchone()
    total, types, duration_ms, timeline = told or (0, [], None, [])
    return {
        "session_id": str(session_id),
        "total_events": total,
        "event_types": types,
        "duration_ms": duration_ms,
        "timeline": timeline,
        "truncated": total > len(timeline),
    }


def events_with_error(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """Events of the last `time_range_hours` whose payload has a member `error`, newest first, at most `limit`."""
    check_names(given, "time_range_hours", "limit")
    question = {"within": hours_of(given), "rows_limit": limit_of(given), **terms.bounds}
    return listed(conn, "events_with_error", question, by_day=("event_logs", "any_events_with_error"))
