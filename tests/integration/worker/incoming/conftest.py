"""A worker that lives through all the tests of this room, on a broker of its own, under a prefix."""

from collections.abc import Iterator, Mapping

import pytest
from celery import Celery

from tests import servers
from tests.integration.worker.incoming.workers import Broker, celery_app
from tests.living_worker import LivingWorker, living_worker
from tests.servers import PostgresServer

PREFIX = "a-prefix:"


@pytest.fixture(scope="package")
def own_broker() -> Iterator[str]:
    with servers.broker() as server:
        yield server.url()


@pytest.fixture(scope="package")
def own_database(postgres_servers: Mapping[str, PostgresServer]) -> Iterator[str]:
    server = postgres_servers["18"]
    yield server.create_migrated("living_worker")
    server.drop_database("living_worker")


@pytest.fixture(scope="package")
def living(own_broker: str, own_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivingWorker]:
    log = tmp_path_factory.mktemp("living") / "worker.log"
    with living_worker(broker=own_broker, database=own_database, log=log, prefix=PREFIX) as worker:
        yield worker


@pytest.fixture
def worker(living: LivingWorker) -> Iterator[LivingWorker]:
    """It, with nothing kept; the same process afterwards."""
    living.redis.delete(PREFIX + "unreadable")
    yield living
    assert living.is_ready()


@pytest.fixture
def app(living: LivingWorker, own_broker: str) -> Iterator[Celery]:
    """A Celery program that knows the broker and its prefix."""
    with celery_app(Broker(own_broker, PREFIX)) as one:
        yield one
