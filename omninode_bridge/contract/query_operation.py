"""The operations that somebody waits for: a query that came over the bus, a generic operation or a report."""

from typing import ClassVar, Literal

from omninode_bridge.contract.operation import Data, Operation
from omninode_bridge.contract.values import JsonObject


class AnswerQueryData(Data):
    """A query that came over the bus, as it came: what is wrong with it is said in its answer. See docs/events.md."""

    OPERATION_TYPE: ClassVar[str] = "answer_query"

    query: JsonObject


class DatabaseOperationData(Data):
    """A generic operation or a report, as `persistence.models.request_of` gives it; the store checks all of it."""

    OPERATION_TYPE: ClassVar[str] = "database_operation"

    request: JsonObject


class AnswerQuery(Operation):
    """A query that came over the bus."""

    operation_type: Literal["answer_query"] = "answer_query"
    data: AnswerQueryData


class DatabaseOperation(Operation):
    """A generic operation or a report. Somebody waits for its answer."""

    operation_type: Literal["database_operation"] = "database_operation"
    data: DatabaseOperationData
