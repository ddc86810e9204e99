"""The sweep of stale heartbeats over a hundred thousand nodes: when nothing changed, when some fell silent, or all.

The rows are made in the database. A relay publishes what the sweep announces, beside it.
"""

from typing import Any

from benchmarks.figures import Measurement, Seen, carry_out
from store.database.connection import connection
from store.database.session import SESSION_SETTINGS
from store.housekeeping.sweep import Sweep
from store.write.liveness import Thresholds

Connection = Any  # psycopg stays in the store
NODES = 100_000
SOME = 1_000

_NODES = """
insert into node_registrations (node_id, node_type, health_status, last_heartbeat, heartbeat_received_at, metadata)
select 'bench-' || i, 'effect', 'HEALTHY', now(), now(), jsonb_build_object('number', i)
from generate_series(1, %s::integer) as i
"""
_BEAT = """
update node_registrations
set last_heartbeat = now(), heartbeat_received_at = now(), liveness = 'FRESH', liveness_announced = 'FRESH'
where node_id like 'bench-%'
"""
_FALL_SILENT = """
update node_registrations
set last_heartbeat = now() - interval '90 seconds', heartbeat_received_at = now() - interval '90 seconds'
where node_id like 'bench-%%' and liveness = 'FRESH' and (metadata ->> 'number')::integer %% %s::integer = 0
"""


def sweep_a_hundred_thousand(variables: dict[str, str], seconds: float) -> list[Seen]:
    """`seconds` is not asked for: it takes as long as it takes."""
    seen: list[Seen] = []
    with connection(variables["OMNINODE_DATABASE_URL"]) as conn:
        for name, value in SESSION_SETTINGS.items():
            conn.execute("select set_config(%s, %s, false)", (name, value))
        conn.execute(_NODES, [NODES])
        _sweep(conn)  # plans are made and kept
        for silent, wanted in ((0, "< 1 s"), (SOME, "< 1 s"), (NODES, "")):
            conn.execute(_BEAT)
            if silent:
                conn.execute(_FALL_SILENT, [NODES // silent])
            conn.execute("vacuum analyze node_registrations")
            seen.append(_sweep(conn)._replace(wanted=wanted))
        conn.execute("delete from node_registrations where node_id like 'bench-%'")
    return seen


def _sweep(conn: Connection) -> Seen:
    did = carry_out(conn, Sweep(Thresholds(), environment="development"))
    figure = f"{did.took_s:.2f} s, longest transaction {did.longest_s:.2f} s"
    return Seen(f"sweep of {NODES:,} nodes of which {did.rows:,} changed", figure, "")


MEASUREMENTS: dict[str, Measurement] = {"sweep": sweep_a_hundred_thousand}
