"""The SQL of generic writes, made of the names in `store.generic.entities`: one text per entity and set of columns.

Texts are kept, so that each is the same every time and PostgreSQL prepares it once. Values travel as JSON parameters.
"""

from collections.abc import Iterable
from functools import cache, lru_cache

from psycopg import sql

from omninode_bridge.persistence.entities import MADE_BY_DATABASE
from store.generic.entities import ENTITIES, Entity, Kind
from store.generic.filters import CASTS

MAX_ROWS = 10_000  # that one update or delete may touch

_TABLES_WITH_CLOCKS = ("workflow_executions", "bridge_states", "node_registrations")
_TABLES_WITH_ID = ("workflow_steps", "fsm_transitions", "metadata_stamps")
_CONTRIBUTED = {
    "total_workflows_processed": "contributed_workflows_processed",
    "total_items_aggregated": "contributed_items_aggregated",
    "total_size_bytes": "contributed_size_bytes",
}

# A workflow's row keeps the id that steps and stamps refer to: its correlation id, where no older row has that.
_WORKFLOW_ID = sql.SQL(
    "case when exists (select 1 from workflow_executions as other"
    " where other.id = given.correlation_id and other.correlation_id <> given.correlation_id)"
    " then uuid_v7() else given.correlation_id end"
)
# Only opened by a step or stamp; a row older than the fleet has no clocks either, but tells something. What
# the fleet has concluded of it meanwhile is told by nobody.
_ONLY_OPENED = sql.SQL(
    "(held.clocks = '{}' and held.current_state = 'PENDING'"
    " or held.clocks - 'current_state' = '{}' and held.clocks ->> 'current_state' similar to '(3|2~|1~)%%')"
    " and held.workflow_type = 'unknown' and held.namespace = 'unknown' and held.started_at is null"
)
# A state that the fleet concluded; what it wrote beside it has no clock, and goes when an end is told.
_CONCLUDED = "(held.clocks ->> 'current_state') collate \"C\" between '2~' and '4'"
_CONCLUDED_WITH_IT = ("completed_at", "error_message")
# It stays while the workflow is given up: FAILED by a policy, and no end is told.
_STALLED_AT = (
    "case when held.stalled_at is not null and held.current_state = 'FAILED' and not won ? 'current_state'"
    " then held.stalled_at end"
)
# The clock that a column's new value has to outdo, by table; `key` is the column.
_HELD_CLOCKS = {
    "workflow_executions": "coalesce(held.clocks ->> key, '') collate \"C\"",
    "node_registrations": (
        "coalesce(held.clocks ->> key, case key when 'last_heartbeat' then held.clocks ->> 'health_status'"
        " when 'deregistered_at' then greatest("  # as the newest heartbeat says that the node is registered
        "held.clocks ->> 'health_status' collate \"C\", held.clocks ->> 'last_heartbeat' collate \"C\") end, '')"
        ' collate "C"'
    ),
    "bridge_states": (
        'greatest(held.clocks ->> key collate "C", held.clocks ->> \'snapshot\' collate "C",'
        " case when key in ('current_fsm_state', 'aggregation_metadata', 'last_aggregation_timestamp')"
        " then held.clocks ->> 'contribution' end collate \"C\", '')"
    ),
}
# Metadata replaced as a whole: keys that were said later stay, with their clocks; the other clocks go.
_METADATA = sql.SQL(
    "case when won ? 'metadata' then"
    " coalesce((select jsonb_object_agg(key, value) from jsonb_each(given.metadata)"
    " where coalesce(held.clocks ->> ('metadata.' || key), '') <= %(said)s::text collate \"C\"), '{}')"
    " || coalesce((select jsonb_object_agg(key, value) from jsonb_each("
    "case when jsonb_typeof(held.metadata) = 'object' then held.metadata else '{}' end)"
    " where held.clocks ->> ('metadata.' || key) > %(said)s::text collate \"C\"), '{}')"
    " else held.metadata end"
)
_METADATA_CLOCKS = sql.SQL(
    "case when won ? 'metadata' then ("
    "select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each_text(held.clocks)"
    " where not (starts_with(key, 'metadata.') and value <= %(said)s::text collate \"C\")"
    ") else held.clocks end || won"
)
# One of the two alone: from now on last_heartbeat has a clock of its own.
_HEALTH_CLOCKS = sql.SQL(
    "jsonb_build_object('last_heartbeat', coalesce(held.clocks ->> 'health_status', '')) || held.clocks || won"
)
# A heartbeat that somebody wrote came when it was written; none (NULL) never came.
_RECEIVED = "case when given.last_heartbeat is not null then %(at)s::timestamptz end"
_LIVENESS = (
    f"node_liveness(node_heard(given.last_heartbeat, {_RECEIVED}, {{registered_at}}), %(at)s::timestamptz,"
    " %(fresh_for)s::interval, %(dead_after)s::interval)"
)
_HEARD = {
    "heartbeat_received_at": _RECEIVED,
    "liveness": _LIVENESS.format(registered_at="held.registered_at"),
}  # what follows from a node's last_heartbeat


def row_types(entity: Entity) -> dict[str, str]:
    """The columns that an insert gives each row, with their types: what users may give, and what the store adds."""
    types = {name: CASTS[kind] for name, kind in entity.columns.items() if name not in MADE_BY_DATABASE}
    if entity.table in _TABLES_WITH_CLOCKS:
        types["clocks"] = "jsonb"
    if entity.table in _TABLES_WITH_ID:
        types["id"] = "uuid"
    if entity.table == "fsm_transitions":
        types["transition_at"] = "timestamptz"
    return types


@cache
def insert(entity_name: str) -> bytes:
    """Add rows, in key order; those whose key stands already stay as they are.

    in: rows, a JSON array of objects with every column of `row_types`; for nodes also at, the write's time, and
        fresh_for and dead_after
    out: the id, as `id_of` says, and the key of each row that was made
    """
    entity = ENTITIES[entity_name]
    types = row_types(entity)
    columns = [sql.Identifier(name) for name in types]
    values: list[sql.Composable] = [sql.Identifier("given", name) for name in types]
    action: sql.Composable = sql.SQL("nothing")
    if entity.table == "workflow_executions":
        columns.append(sql.Identifier("id"))
        values.append(_WORKFLOW_ID)
        action = sql.SQL(
            "update set {filled}, stalled_at = null, row_version = held.row_version + 1, updated_at = now()"
            " where {only_opened}"
        ).format(
            filled=_list(
                sql.SQL("{} = {}").format(sql.Identifier(name), sql.Identifier("excluded", name)) for name in types
            ),
            only_opened=_ONLY_OPENED,
        )
    if entity.table == "node_registrations":
        columns += [sql.Identifier("heartbeat_received_at"), sql.Identifier("liveness")]
        values += [sql.SQL(_RECEIVED), sql.SQL(_LIVENESS.format(registered_at="%(at)s::timestamptz"))]
    text = sql.SQL(
        "insert into {table} as held ({columns}) select {values} from jsonb_to_recordset(%(rows)s::jsonb) as given"
        " ({definitions}) order by {order} on conflict ({key}) do {action} returning {returned}"
    )
    return text.format(
        table=sql.Identifier(entity.table),
        columns=_list(columns),
        values=_list(values),
        definitions=_definitions(types),
        order=key_order(entity, "given"),
        key=_list(map(sql.Identifier, entity.key)),
        action=action,
        returned=_list(sql.Identifier("held", name) for name in (id_of(entity), *entity.key)),
    ).as_bytes()


@lru_cache(maxsize=512)
def update(entity_name: str, columns: tuple[str, ...]) -> bytes:
    """Set columns of rows, each where nothing newer was said of it; rows that are locked already.

    in: fields, a JSON object of the columns; said, the write's clock; clocks, a JSON object of the clock of each column
        that has one; key_0, key_1 as `wanted` names them; for nodes also at, the write's time, and
        fresh_for and dead_after
    """
    entity = ENTITIES[entity_name]
    types = {name: CASTS[entity.columns[name]] for name in columns}
    names = list(map(sql.Identifier, columns))
    values = [_value(entity, name) for name in columns]
    if entity.table == "node_registrations" and "last_heartbeat" in columns:
        names += map(sql.Identifier, _HEARD)
        values += (
            sql.SQL(f"case when won ? 'last_heartbeat' then {value} else held.{name} end")
            for name, value in _HEARD.items()
        )
    if entity.table == "workflow_executions":
        names.append(sql.Identifier("stalled_at"))
        values.append(sql.SQL(_STALLED_AT))
        if "current_state" in columns:
            gone = [name for name in _CONCLUDED_WITH_IT if name not in columns]
            names += map(sql.Identifier, gone)
            values += map(_unless_concluded, gone)
    won: sql.Composable = sql.SQL("select")
    if entity.table in _TABLES_WITH_CLOCKS:
        names.append(sql.Identifier("clocks"))
        values.append(_clocks(entity, columns))
        won = sql.SQL(
            "select coalesce(jsonb_object_agg(key, value), '{{}}') as won"
            " from jsonb_each_text(%(clocks)s::jsonb) where value > {held}"
        ).format(held=sql.SQL(_HELD_CLOCKS[entity.table]))
    text = sql.SQL(
        "update {table} as held set ({names}) = (select {values} from ({won}) as newer), {touched}"
        "row_version = held.row_version + 1"
        " from jsonb_to_record(%(fields)s::jsonb) as given ({definitions}), {wanted} where {is_wanted}"
    )
    return text.format(
        table=sql.Identifier(entity.table),
        names=_list(names),
        values=_list(values),
        won=won,
        touched=sql.SQL("updated_at = now(), " if "updated_at" in entity.columns else ""),
        definitions=_definitions(types),
        wanted=wanted(entity),
        is_wanted=is_wanted(entity),
    ).as_bytes()


@cache
def delete(entity_name: str) -> bytes:
    """Delete rows that are locked already.   in: key_0, key_1 as `wanted` names them"""
    entity = ENTITIES[entity_name]
    text = sql.SQL("delete from {} as held using {} where {}")
    return text.format(sql.Identifier(entity.table), wanted(entity), is_wanted(entity)).as_bytes()


@cache
def read(entity_name: str) -> bytes:
    """Rows by key, in the order of the keys.   in: key_0, key_1 as `wanted` names them   out: each as JSON text"""
    entity = ENTITIES[entity_name]
    text = sql.SQL(
        "select (select row_to_json(found)::text from (select {columns}) as found) from {wanted} join {table} as held"
        " on {is_wanted} order by wanted.position"
    )
    return text.format(
        columns=_list(sql.Identifier("held", name) for name in entity.columns),
        wanted=wanted(entity),
        table=sql.Identifier(entity.table),
        is_wanted=is_wanted(entity),
    ).as_bytes()


@lru_cache(maxsize=512)
def lock(entity_name: str, condition: str, *, to_delete: bool) -> bytes:
    """Hold the rows that a condition finds, in key order, and read the clock when all are held.

    condition  of `store.generic.filters`
    out: the clock, row_version, the id as `id_of` says, and the key of each row, one more than MAX_ROWS if there are
        more; if there is none, the clock with nulls
    """
    entity = ENTITIES[entity_name]
    head = sql.SQL(
        "with found as materialized (select held.row_version, {id} as own_id, {key} from {table} as held where "
    ).format(
        id=sql.Identifier("held", id_of(entity)),
        key=_list(sql.Identifier("held", name) for name in entity.key),
        table=sql.Identifier(entity.table),
    )
    tail = sql.SQL(
        " order by {order} limit {rows} for {how})"
        " select clock_timestamp(), found.* from (select count(*) from found) as all_held left join found on true"
    ).format(
        order=key_order(entity, "held"),
        rows=sql.Literal(MAX_ROWS + 1),
        how=sql.SQL("update" if to_delete else "no key update"),
    )
    return head.as_bytes() + condition.encode() + tail.as_bytes()


def id_of(entity: Entity) -> str:
    """The column whose value answers name as `id`."""
    return "id" if "id" in entity.columns else entity.key[0]


def wanted(entity: Entity) -> sql.Composable:
    """Keys given as arrays, one per column. Joined with, they make PostgreSQL look into their own partitions only."""
    arrays = (
        sql.SQL("{}::{}[]").format(sql.Placeholder(f"key_{n}"), _type_of(entity, name))
        for n, name in enumerate(entity.key)
    )
    return sql.SQL("unnest({}) with ordinality as wanted ({}, position)").format(
        _list(arrays), _list(map(sql.Identifier, entity.key))
    )


def is_wanted(entity: Entity) -> sql.Composable:
    pairs = (sql.SQL("held.{0} = wanted.{0}").format(sql.Identifier(name)) for name in entity.key)
    return sql.SQL(" and ").join(pairs)


def _value(entity: Entity, column: str) -> sql.Composable:
    name = sql.Identifier(column)
    if entity.table not in _TABLES_WITH_CLOCKS or (entity.table, column) == ("workflow_executions", "started_at"):
        return sql.SQL("given.{}").format(name)
    if (entity.table, column) == ("workflow_executions", "metadata"):
        return _METADATA
    value = sql.SQL("given.{}").format(name)
    if entity.table == "bridge_states" and column in _CONTRIBUTED:
        value = sql.SQL("given.{} + held.{}").format(name, sql.Identifier(_CONTRIBUTED[column]))
    return sql.SQL("case when won ? {} then {} else held.{} end").format(sql.Literal(column), value, name)


def _unless_concluded(column: str) -> sql.Composable:
    """What the fleet wrote into a column beside a state, until somebody tells the state."""
    return sql.SQL(
        "case when won ? 'current_state' and {concluded} and not held.clocks ? {key} then null else held.{name} end"
    ).format(concluded=sql.SQL(_CONCLUDED), key=sql.Literal(column), name=sql.Identifier(column))


def _clocks(entity: Entity, columns: tuple[str, ...]) -> sql.Composable:
    if entity.table == "workflow_executions" and "metadata" in columns:
        return _METADATA_CLOCKS
    if entity.table == "node_registrations" and "health_status" in columns and "last_heartbeat" not in columns:
        return _HEALTH_CLOCKS
    return sql.SQL("held.clocks || won")


def _definitions(types: dict[str, str]) -> sql.Composable:
    return _list(sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kind)) for name, kind in types.items())


def key_order(entity: Entity, alias: str) -> sql.Composable:
    """As all statements of the store order the rows of a table."""
    collation = sql.SQL(' collate "C"' if entity.table == "node_registrations" else "")
    return _list(sql.SQL("{}{}").format(sql.Identifier(alias, name), collation) for name in entity.key)


def _type_of(entity: Entity, column: str) -> sql.SQL:
    kind: Kind = entity.columns[column]
    return sql.SQL(CASTS[kind])


def _list(parts: Iterable[sql.Composable]) -> sql.Composable:
    return sql.SQL(", ").join(parts)
