"""Every operation by the name of its type. A new persist operation is a line in `PERSIST_OPERATIONS`.

See docs/guides/add-an-operation.md.
"""

from typing import Any

from omninode_bridge.contract.intent_operation import (
    PersistFsmTransitionIntent,
    PersistState,
    PublishEvent,
    RecoverFsmStates,
)
from omninode_bridge.contract.operation import (
    Data,
    Operation,
    PersistBridgeState,
    PersistFsmTransition,
    PersistMetadataStamp,
    PersistWorkflowExecution,
    PersistWorkflowStep,
    RecordEvent,
    UpdateNodeHeartbeat,
)
from omninode_bridge.contract.query_operation import AnswerQuery, DatabaseOperation

# What bridge nodes did. Each is a task of its own name, and its data a block of a bare bus object.
PERSIST_OPERATIONS: tuple[type[Operation], ...] = (
    PersistWorkflowExecution,
    PersistWorkflowStep,
    PersistBridgeState,
    PersistFsmTransition,
    PersistMetadataStamp,
    UpdateNodeHeartbeat,
)
INTENT_OPERATIONS: tuple[type[Operation], ...] = (
    PublishEvent,
    PersistState,
    PersistFsmTransitionIntent,
    RecoverFsmStates,
)
_EVERY: tuple[type[Operation], ...] = (
    *PERSIST_OPERATIONS,
    RecordEvent,
    *INTENT_OPERATIONS,
    AnswerQuery,
    DatabaseOperation,
)


def data_class_of(operation: type[Operation]) -> type[Data]:
    """The class of an operation's data."""
    found: Any = operation.model_fields["data"].annotation
    assert issubclass(found, Data)
    data_class: type[Data] = found
    return data_class


def _type_of(operation: type[Operation]) -> str:
    return data_class_of(operation).OPERATION_TYPE


PERSIST_TYPES = tuple(map(_type_of, PERSIST_OPERATIONS))
INTENT_TYPES = tuple(map(_type_of, INTENT_OPERATIONS))
OPERATION_CLASSES: dict[str, type[Operation]] = {_type_of(one): one for one in _EVERY}
BLOCKS: dict[str, str] = {data_class_of(one).BLOCK: _type_of(one) for one in PERSIST_OPERATIONS}


def operation_of(data: Data, **fields: Any) -> Operation:
    """The operation that carries `data`; `fields` are those of `Operation`, all optional."""
    return OPERATION_CLASSES[data.OPERATION_TYPE](data=data, **fields)
