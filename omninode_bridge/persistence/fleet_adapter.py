"""The adapter of those who have no database: operations go to the fleet, answers come back."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self, Unpack
from uuid import UUID

from omninode_bridge.client.aio import AsyncFleetClient, ClientOptions, options_of
from omninode_bridge.client.broker import DATABASE_BATCH_TASK
from omninode_bridge.client.client import CLOSE_TIMEOUT_S, ClientStats
from omninode_bridge.client.handle import Handle
from omninode_bridge.contract.clock import uuid7
from omninode_bridge.contract.enums import EnumCoreErrorCode
from omninode_bridge.contract.errors import OnexError, invalid
from omninode_bridge.contract.query_operation import DatabaseOperation, DatabaseOperationData
from omninode_bridge.persistence.adapter import TIMEOUT_S, DatabaseAdapter
from omninode_bridge.persistence.health import HEALTH_OPERATION

# Somebody waits for each answer, and a message is carried out one operation after another and answered as a whole: with
# several in it, one that waits for a lock would hold up the answers of the others. So each travels alone, and at once.
MESSAGE: ClientOptions = {"linger": timedelta(0), "batch_operations": 1, "max_in_flight": 64}


class FleetDatabaseAdapter(DatabaseAdapter):
    """Has operations carried out by the fleet. Any number of tasks and event loops may use one at the same time.

    timeout_s  how long one operation waits for its answer; what is not answered then is TIMEOUT and stays submitted
    options    those of `FleetClient`

    Raises OnexError VALIDATION_ERROR for arguments that cannot work. It connects when the first operation comes.
    """

    def __init__(self, broker_url: str, *, timeout_s: float = TIMEOUT_S, **options: Unpack[ClientOptions]) -> None:
        if timeout_s <= 0:
            raise invalid("timeout_s: not positive")
        super().__init__()
        given: ClientOptions = {**MESSAGE, **options, "task": DATABASE_BATCH_TASK}
        self._client = AsyncFleetClient(broker_url, **given)
        self._timeout_s = timeout_s

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, timeout_s: float = TIMEOUT_S, **options: Unpack[ClientOptions]
    ) -> Self:
        """One as these variables say: OMNINODE_BROKER_URL, and optionally OMNINODE_RESULT_BACKEND_URL and
        OMNINODE_BROKER_KEY_PREFIX.

        Raises OnexError VALIDATION_ERROR for a missing or wrong one, by name.
        """
        broker_url, named = options_of(environ)
        given: ClientOptions = {**named, **options}
        return cls(broker_url, timeout_s=timeout_s, **given)

    async def shutdown(self, timeout_s: float | None = CLOSE_TIMEOUT_S) -> None:
        """Take no more operations, wait for the answers, and stop.

        Raises OnexError TIMEOUT that says how many are missing; those operations may still be carried out.
        """
        await self._client.close(timeout_s)

    def stats(self) -> ClientStats:
        """What the client underneath is doing."""
        return self._client.stats()

    def __repr__(self) -> str:
        return f"<FleetDatabaseAdapter {self._client!r}>"

    async def _health(self, correlation_id: str) -> dict[str, Any]:
        """Of a worker, whichever answers."""
        request = {"operation_type": HEALTH_OPERATION, "correlation_id": correlation_id}
        found = await self._answer(request, uuid7())
        if not found["success"]:
            raise OnexError(EnumCoreErrorCode(found["error_code"]), found["error_message"])
        health: dict[str, Any] = found["result_data"]
        return health

    async def _answer(self, request: Mapping[str, Any], operation_id: UUID) -> Mapping[str, Any]:
        operation = DatabaseOperation(
            operation_id=operation_id,
            correlation_id=UUID(request["correlation_id"]),
            data=DatabaseOperationData(request=dict(request)),
        )
        handle: Handle | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                handle = await self._client.submit(operation)
                outcome = await handle
        except TimeoutError:
            became = "it was not submitted, the client is full" if handle is None else "it stays submitted"
            message = f"operation: not answered within {self._timeout_s:g} s; {became}"
            raise OnexError(EnumCoreErrorCode.TIMEOUT, message) from None
        if outcome.detail is not None:
            return outcome.detail
        return {"success": outcome.committed, "error_code": outcome.code, "error_message": outcome.message}
