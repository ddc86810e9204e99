"""Stamps: of a file, by what was found out about it, and a namespace in numbers."""

from typing import Any

from psycopg import Connection

from store.database.statements import statements_beside
from store.reports.lists import listed
from store.reports.parameters import USUAL, Given, Terms, check_names, limit_of, object_of, text_of

statement = statements_beside(__file__)


def namespace_stats(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """What `namespace` holds: it reads every stamp and workflow of it, so a large one takes its time.

    total_size_bytes        the sizes that its stamps tell in file_metadata; where no stamp tells any, what its bridges
                            have added up. Never both: they count the same files
    avg_processing_time_ms  of its completed workflows: what they said, else from start to completion
    """
    check_names(given, "namespace")
    question = {"namespace": text_of(given, "namespace", max_chars=255)}
    stamps = _one(conn, "namespace_stamps", question)
    bridges = _one(conn, "namespace_bridges", question)
    workflows = _one(conn, "namespace_workflows", question)
    told = stamps.pop("stamped_size_bytes")
    return {
        "namespace": question["namespace"],
        **stamps,
        "total_size_bytes": bridges["total_size_bytes"] if told is None else told,
        **workflows,
        "aggregated": bridges,
    }


def stamps_by_hash(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """The stamps of the file with that `file_hash`, newest first, at most `limit`."""
    check_names(given, "file_hash", "limit")
    file_hash = text_of(given, "file_hash", max_chars=128).lower()
    return _stamps(conn, "stamps_by_hash", {"file_hash": file_hash}, given, terms)


def stamps_with(conn: Connection[Any], given: Given, terms: Terms = USUAL) -> dict[str, Any]:
    """Stamps whose intelligence_data contains the object `intelligence`, newest first, at most `limit`."""
    check_names(given, "intelligence", "limit")
    return _stamps(conn, "stamps_with", {"intelligence": object_of(given, "intelligence")}, given, terms)


def _stamps(conn: Connection[Any], name: str, wanted: dict[str, Any], given: Given, terms: Terms) -> dict[str, Any]:
    return listed(conn, name, {**wanted, "rows_limit": limit_of(given), **terms.bounds})


def _one(conn: Connection[Any], name: str, question: dict[str, Any]) -> dict[str, Any]:
    (found,) = conn.execute(statement(name), question).fetchone() or ({},)
    return dict(found)
