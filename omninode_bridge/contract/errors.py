"""The one public error, and what each of its codes asks of whoever catches it.

OnexError
  VALIDATION_ERROR          the input is wrong; the message names the field. Repair it, do not repeat it
  CONFLICT                  the same operation_id was used for other content
  TOO_OLD, FUTURE           the operation's time lies outside what the fleet can take
  POISON                    the database, or the worker, failed at this operation again and again while it took others
  NOT_FOUND                 what was asked for does not exist
  DATABASE_OPERATION_ERROR  a write was refused by the database
  DATABASE_QUERY_ERROR      a read was refused by the database
  SERVICE_UNAVAILABLE       database, broker or bus is away: wait, the work is safe where it is
  TIMEOUT                   no answer yet; what was submitted stays submitted
  INTERNAL_ERROR            a defect of ours
"""

from collections.abc import Mapping
from typing import Any

from omninode_bridge.contract.enums import EnumCoreErrorCode

QUOTED_CHARS = 40  # how much of somebody's value a message may repeat


class OnexError(Exception):
    """An error with a code to act on, a message to read and a context to log.

    `context` holds plain values and never a payload; `original_error` is also set as `__cause__`.
    Without a code it is an operation that the database refused.
    """

    def __init__(
        self,
        error_code: EnumCoreErrorCode = EnumCoreErrorCode.DATABASE_OPERATION_ERROR,
        message: str = "",
        context: Mapping[str, Any] | None = None,
        original_error: BaseException | None = None,
    ) -> None:
        super().__init__(message)
        self.error_code = error_code
        self.message = message
        self.context = dict(context or {})
        self.original_error = original_error
        self.__cause__ = original_error

    def __str__(self) -> str:
        return f"{self.error_code}: {self.message}"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.error_code, self.message, self.context)


def invalid(message: str, **context: Any) -> OnexError:
    """A VALIDATION_ERROR; `message` starts with the field's name."""
    return OnexError(EnumCoreErrorCode.VALIDATION_ERROR, message, context)


def quoted(value: object) -> str:
    """At most `QUOTED_CHARS` characters of somebody's value, printable, for a message."""
    text = value if isinstance(value, str) else repr(value)
    return ascii(text if len(text) <= QUOTED_CHARS else text[:QUOTED_CHARS] + "...")
