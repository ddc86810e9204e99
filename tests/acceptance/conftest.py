"""Fixtures of the acceptance tests."""

from collections.abc import Iterator

import psycopg
import pytest

from tests.acceptance.adapters import adapter as adapter
from tests.conftest import Stack
from tests.streams import TABLES


@pytest.fixture
def empty(stack: Stack) -> Iterator[Stack]:
    """The shared fleet, with nothing in its tables."""
    with psycopg.connect(stack.env["OMNINODE_DATABASE_URL"], autocommit=True) as conn:
        conn.execute("truncate " + ", ".join(TABLES) + " cascade")
    yield stack
