"""What the persistence functions ask of a node: anything that can process a database operation."""

from typing import Protocol, runtime_checkable

from omninode_bridge.persistence.models import ModelDatabaseOperationInput, ModelDatabaseOperationOutput


@runtime_checkable
class DatabaseAdapterProtocol(Protocol):
    """An adapter.

    It may have a `_logger`, too: whatever has a method `debug` that takes a text. Each function writes one line there.
    """

    async def process(self, operation_input: ModelDatabaseOperationInput) -> ModelDatabaseOperationOutput:
        """Carry out one operation. Whatever went wrong is told in the output."""
        ...
