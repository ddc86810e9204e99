"""Intents that were refused: kept as dead letters, and carried out once they are repaired."""

from typing import Any

import orjson
import psycopg
import pytest

from omninode_bridge.clock import now
from omninode_bridge.errors import OnexError
from omninode_bridge.intents import intent_item
from omninode_bridge.refusal import Refusal
from store.apply import apply
from store.letters import find, retry
from tests.factories import count, store_connection
from tests.intent_payloads import refused, state


def kept(conn: psycopg.Connection[Any], refusal: Refusal) -> dict[str, Any]:
    """Have the fleet refuse it, and give the intent that its letter holds."""
    (outcome,) = apply(conn, [refusal])
    assert (outcome.status, outcome.message) == ("refused", refusal.message)
    intent: dict[str, Any] = orjson.loads(find(conn, refusal.operation_id).payload or "")
    return intent


def test_a_repaired_intent_is_carried_out_under_the_id_of_its_letter(database: str) -> None:
    wrong = refused("PersistState", state(agregated=1, timestamp=now()))
    with store_connection(database) as conn:
        intent = kept(conn, wrong)
        letter = find(conn, wrong.operation_id)
        with pytest.raises(OnexError, match="agregated: Extra inputs"):
            retry(conn, letter)
        del intent["payload"]["agregated"]
        assert retry(conn, letter, payload=orjson.dumps(intent).decode()) == wrong.operation_id
        assert count(conn, "bridge_states") == 1
        (late,) = apply(conn, [wrong])
        assert late.status == "duplicate"


def test_the_letter_of_an_intent_holds_what_makes_the_same_refusal_again(database: str) -> None:
    wrong = refused("PersistState", state(aggregation_id="no", timestamp=now()), priority=1)
    with store_connection(database) as conn:
        assert intent_item(kept(conn, wrong)) == wrong
