"""What a generic write asks for, checked as far as that can be done without looking at rows.

The order of the checks can be seen from outside: which of several faults is named. It is the platform's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from omninode_bridge.contract.enums import EnumEntityType
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.names import check_name, repeatable
from omninode_bridge.contract.values import INT64_MAX, check_json
from omninode_bridge.persistence.entities import MADE_BY_DATABASE, checked_fields, entity_type_of
from omninode_bridge.persistence.metadata_schemas import check_metadata
from omninode_bridge.persistence.models import MAX_BATCH_ROWS, ModelDatabaseOperationInput
from store.generic.entities import ENTITIES, Entity
from store.generic.filters import conditions

WriteType = Literal["insert", "update", "delete", "upsert", "batch_insert"]
SHOWN_FIELDS = 10  # in a message
WRITE_TYPES: tuple[WriteType, ...] = ("insert", "update", "delete", "upsert", "batch_insert")

_KNOWN = frozenset(ModelDatabaseOperationInput.model_fields) - {"operation_id"}  # which stands beside a request

# Which columns name a row, beside the whole key of its table: a bridge alone names the one state that it has.
_OTHER_KEYS: dict[str, tuple[str, ...]] = {"bridge_states": ("bridge_id",)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """A checked generic write.

    rows              of an insert: the fields of each row, normalised
    fields            of an update or upsert: what is to be set, normalised; among it the key, where it was given
    incomplete        of an upsert: why its fields alone make no row
    found_by          of all but an insert: what goes after WHERE, and its values
    one_bridge        whether that names a bridge and no namespace: it means the one state that the bridge has
    expected_version  the `row_version` that the one row must have
    returning         whether the rows are wanted, as they are afterwards
    strict            whether JSON columns, written and answered, must hold what their models say, or any JSON
    """

    type: WriteType
    entity_name: str
    entity: Entity
    rows: tuple[dict[str, Any], ...] = ()
    fields: dict[str, Any] = field(default_factory=dict)
    incomplete: OnexError | None = None
    found_by: tuple[str, list[Any]] = ("false", [])
    one_bridge: bool = False
    expected_version: int | None = None
    returning: bool = False
    strict: bool = True


def check_fields(request: Mapping[str, Any]) -> None:
    """Raises OnexError VALIDATION_ERROR for a field that no operation has: misspelt, what it asks for would be lost."""
    unknown = sorted({repeatable(name) for name in request if name not in _KNOWN})
    if unknown:
        raise invalid(f"{', '.join(unknown[:SHOWN_FIELDS])}: no field of a database operation")


def parse(write_type: WriteType, request: Mapping[str, Any]) -> Write:
    """A generic write from what somebody sent. Raises OnexError VALIDATION_ERROR that names what is wrong."""
    check_fields(request)
    entity_type = entity_type_of(request.get("entity_type"))
    if entity_type is EnumEntityType.NODE_HEALTH_METRICS:
        raise invalid(f"entity_type: {entity_type} can only be read; its rows are written as node_heartbeat")
    fields = _Fields(entity_type, ENTITIES[entity_type], strict=_flag(request, "strict_jsonb_validation", default=True))
    what = _PARSERS[write_type](fields, request)
    version = request.get("expected_version")
    if version is not None and write_type != "update":
        raise invalid("expected_version: only an update takes one")
    if version is not None and (type(version) is not int or not 1 <= version <= INT64_MAX):
        raise invalid("expected_version: not an integer from 1")
    return Write(
        type=write_type,
        entity_name=str(entity_type),
        entity=fields.entity,
        expected_version=version,
        returning=_flag(request, "returning", default=False),
        strict=fields.strict,
        **what,
    )


@dataclass(frozen=True, slots=True)
class _Fields:
    """How the fields of one entity type are checked.

    strict  whether JSON columns must hold what their models say, or any JSON
    """

    entity_type: EnumEntityType
    entity: Entity
    strict: bool

    def checked(self, given: Mapping[str, Any], where: str, *, partial: bool = False) -> dict[str, Any]:
        """The fields, normalised. No name is repeated in an error that could not be one."""
        for name in given:
            self.entity.kind_of(check_name(name, where))
        if self.strict:
            fields = checked_fields(self.entity_type, given, partial=partial)
            check_metadata(self.entity_type, fields)
            return fields
        loose = {name: value for name, value in given.items() if value is not None and self._is_loose(name)}
        for name, value in loose.items():
            try:
                check_json(value)
            except ValueError as error:
                raise invalid(f"{name}: {error}") from None
        stand_ins: dict[str, Any] = {name: [] if name == "workflow_steps" else {} for name in loose}
        return checked_fields(self.entity_type, {**given, **stand_ins}, partial=partial) | loose

    def _is_loose(self, name: str) -> bool:
        """Whether any JSON may stand there. Events fold the keys of a workflow's metadata: that is an object always."""
        return self.entity.columns[name] == "json" and (self.entity.table, name) != ("workflow_executions", "metadata")


def _insert(fields: _Fields, request: Mapping[str, Any]) -> dict[str, Any]:
    return {"rows": (fields.checked(_without_made(_entity(request, "insert")), "entity"),)}


def _batch_insert(fields: _Fields, request: Mapping[str, Any]) -> dict[str, Any]:
    given = request.get("batch_entities")
    if not isinstance(given, list | tuple) or not given:
        raise invalid("batch_entities: a list that is not empty is required for batch_insert")
    if len(given) > MAX_BATCH_ROWS:
        raise invalid(f"batch_size: {len(given)} exceeds maximum of {MAX_BATCH_ROWS}")
    rows = []
    for index, one in enumerate(given):
        where = f"batch_entities[{index}]"
        if not isinstance(one, Mapping):
            raise invalid(f"{where}: not an object")
        try:
            rows.append(fields.checked(_without_made(one), "name"))
        except OnexError as error:
            raise invalid(f"{where}: {error.message}") from None
    return {"rows": tuple(rows)}


def _update(fields: _Fields, request: Mapping[str, Any]) -> dict[str, Any]:
    given = _entity(request, "update")
    filters = _filters(request, "update")
    made = sorted(MADE_BY_DATABASE.intersection(given))
    if made:
        raise invalid(f"{', '.join(made)}: made by the database, which an update cannot change")
    checked = fields.checked(given, "entity", partial=True)
    if not checked.keys() - set(fields.entity.key):
        raise invalid("entity: at least one field that is no key is required for update")
    return {"fields": checked, **_found_by(fields.entity, filters)}


def _delete(fields: _Fields, request: Mapping[str, Any]) -> dict[str, Any]:
    return _found_by(fields.entity, _filters(request, "delete"))


def _upsert(fields: _Fields, request: Mapping[str, Any]) -> dict[str, Any]:
    entity = fields.entity
    given = _entity(request, "upsert")
    conflict = [check_name(name, "query_filters") for name in _filters(request, "upsert")]
    for name in conflict:
        entity.kind_of(name)
    given = {name: value for name, value in given.items() if name in conflict or name not in MADE_BY_DATABASE}
    if not given.keys() - set(conflict):
        raise invalid("entity: at least one non-conflict column is required for upsert")
    keys = [entity.key, *([_OTHER_KEYS[entity.table]] if entity.table in _OTHER_KEYS else [])]
    if set(conflict) not in map(set, keys):
        raise invalid("query_filters: not a key of its table: " + " or ".join(" and ".join(key) for key in keys))
    missing = [name for name in conflict if given.get(name) is None]
    if missing:
        raise invalid(f"{', '.join(missing)}: in query_filters, so the entity has to give it")
    checked = fields.checked(given, "entity", partial=True)
    row = {name: checked[name] for name in entity.key if name in checked}
    found = _found_by(entity, row)
    try:
        fields.checked(given, "entity")
    except OnexError as error:
        return {"fields": checked, "incomplete": error, **found}
    return {"fields": checked, **found}


_PARSERS = {
    "insert": _insert,
    "update": _update,
    "delete": _delete,
    "upsert": _upsert,
    "batch_insert": _batch_insert,
}


def _found_by(entity: Entity, filters: Mapping[str, Any]) -> dict[str, Any]:
    columns = {name.rpartition("__")[0] or name for name in filters}
    names_bridge = entity.table == "bridge_states" and not {"bridge_id", "bridge_id__eq"}.isdisjoint(filters)
    return {"found_by": conditions(entity, filters), "one_bridge": names_bridge and "namespace" not in columns}


def _entity(request: Mapping[str, Any], write_type: WriteType) -> Mapping[str, Any]:
    given = request.get("entity")
    if not isinstance(given, Mapping) or not given:
        raise invalid(f"entity: an object that is not empty is required for {write_type}")
    return given


def _filters(request: Mapping[str, Any], write_type: WriteType) -> Mapping[str, Any]:
    given = request.get("query_filters")
    if not isinstance(given, Mapping) or not given:
        raise invalid(f"query_filters: an object that is not empty is required for {write_type}")
    return given


def _without_made(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name not in MADE_BY_DATABASE}


def _flag(request: Mapping[str, Any], name: str, *, default: bool) -> bool:
    value = request.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid(f"{name}: neither true nor false")
    return default if value is None else value
