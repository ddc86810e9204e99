"""FSM recovery on a million workflows: those that disagree with their transitions, and no others, within seconds.

The rows are made in the database, as operations would have left them; nothing else runs.
"""

from datetime import timedelta
from typing import Any

from benchmarks.figures import Measurement, Seen, carry_out
from store.database.connection import connection
from store.database.session import SESSION_SETTINGS
from store.housekeeping.fsm_recovery import Recovery

Connection = Any  # psycopg stays in the store
WORKFLOWS = 1_000_000
BEHIND = 1_000

# One in a thousand is behind; of the others a tenth is open, or all are.
_WORKFLOWS = """
insert into workflow_executions (
  id, correlation_id, workflow_type, namespace, current_state, clocks, created_at, updated_at)
select
  id, id, case when is_behind then 'behind' else 'stamping' end, 'bench',
  case when is_open then 'PROCESSING' else 'COMPLETED' end,
  jsonb_build_object('current_state', case when is_open then '2' else '4' end || clock_text(at, id)), at, at
from (
  select
    uuid_v7() as id, number %% %(every)s = 0 as is_behind,
    %(open)s or number %% %(every)s = 0 or number %% 10 = 1 as is_open, now() - interval '20 minutes' as at
  from generate_series(1, %(workflows)s) as number) as one
"""
_MACHINES = """
insert into fsm_states (
  entity_type, entity_id, current_state, previous_state, transition_count, last_transition_at, clock, updated_at)
select 'workflow_execution', id, state, 'PENDING', 1, created_at,
  left(said, 16) || case state when 'COMPLETED' then '4' else '2' end || right(said, 32), created_at
from (
  select
    id, created_at, clock_text(created_at, id) as said,
    case when workflow_type = 'behind' then 'COMPLETED' else current_state end as state
  from workflow_executions where namespace = 'bench'
) as machine
"""


def recover_a_million(variables: dict[str, str], seconds: float) -> list[Seen]:
    """`seconds` is not asked for: it takes as long as it takes."""
    seen: list[Seen] = []
    with connection(variables["OMNINODE_DATABASE_URL"]) as conn:
        for name, value in SESSION_SETTINGS.items():
            conn.execute("select set_config(%s, %s, false)", (name, value))
        for what, all_open in (("most of them ended", False), ("all of them open", True)):
            _fill(conn, all_open=all_open)
            seen.append(_run(conn, what))
            _empty(conn)
    return seen


def _fill(conn: Connection, *, all_open: bool) -> None:
    given = {"workflows": WORKFLOWS, "every": WORKFLOWS // BEHIND, "open": all_open}
    conn.execute("set statement_timeout to 0")
    conn.execute(_WORKFLOWS, given)
    conn.execute(_MACHINES)
    conn.execute("vacuum analyze workflow_executions, fsm_states")


def _run(conn: Connection, what: str) -> Seen:
    (disagree,) = conn.execute(
        "select count(*) from workflow_executions w join fsm_states f on f.entity_id = w.id"
        " where w.namespace = 'bench' and w.current_state <> f.current_state"
    ).fetchone()
    job = Recovery(after=timedelta(minutes=5), stalled_after=timedelta(hours=1), fails={}, environment="development")
    did = carry_out(conn, job)
    figure = f"{did.counts['recovered']:,} of {disagree:,} in {did.took_s:.2f} s"
    figure += f", longest transaction {did.longest_s:.2f} s"
    return Seen(f"recovery of {WORKFLOWS:,} workflows, {what}", figure, f"{BEHIND:,} in < 10 s")


def _empty(conn: Connection) -> None:
    conn.execute("truncate workflow_executions cascade")
    conn.execute("truncate fsm_states")


MEASUREMENTS: dict[str, Measurement] = {"fsm-recovery": recover_a_million}
