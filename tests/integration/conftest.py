"""Fixtures of the integration tests: what stands at the other end of a client."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.answerer import Answerer, answering
from tests.integration.brokers import RestartableBroker, silent_port


@pytest.fixture
def answerer(broker: str) -> Iterator[Answerer]:
    with answering(broker) as one:
        yield one


@pytest.fixture
def restartable_broker(tmp_path: Path) -> Iterator[RestartableBroker]:
    one = RestartableBroker(tmp_path)
    one.start()
    yield one
    one.kill()


@pytest.fixture
def black_hole() -> Iterator[str]:
    with silent_port() as url:
        yield url
