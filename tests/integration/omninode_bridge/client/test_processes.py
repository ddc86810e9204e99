"""The client beside other processes and in an event loop: Celery workers, forks, programs that end, asyncio."""

import asyncio
import os
import subprocess
import sys

import pytest

from omninode_bridge import AsyncFleetClient, FleetClient, OnexError, Outcome, UpdateNodeHeartbeat
from omninode_bridge.client.aio import ClientOptions
from omninode_bridge.client.backoff import Backoff
from tests.answerer import Answerer
from tests.integration.omninode_bridge.client.clients import client_of, heartbeat

# ---- Celery ---------------------------------------------------------------------------------------------------------

WORKER = """
import sys
from celery import Celery
from omninode_bridge.client.broker import celery_settings
from omninode_bridge.contract.outcome import Outcome
from omninode_bridge.contract.wire import decode_batch, encode_outcomes

app = Celery("fleet", set_as_current=False)
app.conf.update(celery_settings(broker_url=sys.argv[1], result_backend_url=sys.argv[1], key_prefix="node_"))

@app.task(name="omninode.persist_batch", bind=True)
def persist_batch(task, text):
    items = decode_batch(text, task_id=task.request.id)
    return encode_outcomes([Outcome(item.operation_id, "duplicate") for item in items])

app.worker_main(["worker", "--pool=solo", "--queues=persist", "--without-gossip", "--without-mingle", "-lERROR"])
"""


def test_a_celery_workers_result_is_a_confirmation(broker: str) -> None:
    command = [sys.executable, "-W", "ignore", "-c", WORKER, broker]
    with subprocess.Popen(command, env=program_environment(), stderr=subprocess.PIPE) as worker:
        try:
            with client_of(broker, key_prefix="node_", _resend=Backoff(first_s=60, most_s=60)) as client:
                handles = client.submit_many([heartbeat(number) for number in range(300)])
                assert {handle.result(60).status for handle in handles} == {"duplicate"}
        finally:
            worker.terminate()
            worker.communicate(timeout=120)


# ---- processes ------------------------------------------------------------------------------------------------------


def run_program(source: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PREAMBLE + source, *arguments],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=program_environment(),
    )


def program_environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


PREAMBLE = """
import os, sys
from omninode_bridge import FleetClient, NodeHeartbeatData, OnexError
data = NodeHeartbeatData(node_id="n", health_status="HEALTHY")
"""


def test_a_fork_refuses_its_parents_client_and_disturbs_it_not(broker: str, answerer: Answerer) -> None:
    done = run_program(
        """
client = FleetClient(sys.argv[1])
handle = client.submit(data)
handle.result(60)
later = client.submit(data)
child = os.fork()
if child == 0:
    for use in (lambda: client.submit(data), client.flush, client.close):
        try:
            use()
        except OnexError as error:
            assert "forked" in str(error), error
        else:
            os._exit(3)
    with FleetClient(sys.argv[1]) as own:
        own.submit(data).result(60)
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
later.result(60)
client.submit(data).result(60)
client.close(5)
print("parent", client.stats().confirmed)
""",
        broker,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "parent 3"), done.stderr


def test_a_program_that_forgets_to_close_still_hands_over(broker: str, answerer: Answerer) -> None:
    done = run_program("client = FleetClient(sys.argv[1]); client.submit(data)", broker)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(answerer.received) == 1


def test_a_program_that_ends_unconfirmed_says_how_much() -> None:
    source = "import omninode_bridge.client.client as c; c.EXIT_TIMEOUT_S = 0.2\nclient = FleetClient(sys.argv[1])"
    done = run_program(source + "\nfor _ in range(3): client.submit(data)", "redis://127.0.0.1:1/0")
    assert done.returncode == 0
    assert "3 of 3 operations not confirmed when the client was closed" in done.stderr


def test_the_models_are_imported_without_celery() -> None:
    done = run_program("assert 'celery' not in sys.modules and 'omninode_bridge.client.sender' not in sys.modules")
    assert done.returncode == 0, done.stderr


def test_celerys_own_variables_lead_no_client_astray(
    broker: str, answerer: Answerer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("CELERY_BROKER_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.setenv(name, "redis://127.0.0.1:1/0")
    with client_of(broker) as client:
        assert client.submit(heartbeat()).result(60).committed


# ---- asyncio --------------------------------------------------------------------------------------------------------


def test_asyncio_submits_and_awaits(broker: str, answerer: Answerer) -> None:
    async def run() -> list[Outcome]:
        async with AsyncFleetClient(broker, max_pending=20) as client:  # tasks wait for room
            handles = await asyncio.gather(*[client.submit(heartbeat(number)) for number in range(200)])
            handles += await client.submit_many([heartbeat(number) for number in range(30)])
            outcomes = await asyncio.gather(*handles)
            await client.flush(60)
            return outcomes

    assert len({outcome.operation_id for outcome in asyncio.run(run()) if outcome.committed}) == 230


def test_more_than_a_client_holds_goes_in_one_by_one_even_where_it_is_to_go_together(
    broker: str, answerer: Answerer
) -> None:
    async def run() -> list[Outcome]:
        async with AsyncFleetClient(broker, max_pending=20) as client:
            submitting = client.submit_many([heartbeat(number) for number in range(50)], together=True)
            return await asyncio.gather(*await asyncio.wait_for(submitting, 20))

    assert len({outcome.operation_id for outcome in asyncio.run(run()) if outcome.committed}) == 50


def test_waiting_for_room_leaves_the_loop_free(broker: str, answerer: Answerer) -> None:
    async def run() -> None:
        async with AsyncFleetClient(broker, max_pending=1) as client:
            answerer.pause()
            await client.submit(heartbeat(1))
            waiting = asyncio.create_task(client.submit(heartbeat(2)))
            cancelled = asyncio.create_task(client.submit(heartbeat(3)))
            done, _ = await asyncio.wait([waiting, cancelled], timeout=0.1)
            assert not done
            cancelled.cancel()
            answerer.resume()
            assert (await (await waiting)).committed

    asyncio.run(run())
    nodes = {item.data.node_id for item in answerer.received if isinstance(item, UpdateNodeHeartbeat)}
    assert nodes == {"node-1", "node-2"}  # what was cancelled was not taken


def test_an_async_close_says_how_much_is_unconfirmed(broker: str) -> None:
    async def run() -> None:
        client = AsyncFleetClient(broker)
        handle = await client.submit(heartbeat())
        with pytest.raises(OnexError, match="1 of 1"):
            await client.close(0.1)
        with pytest.raises(OnexError, match="closed"):
            await handle

    asyncio.run(run())


def test_the_async_client_knows_every_option() -> None:
    keywords = FleetClient.__init__.__kwdefaults__ or {}
    assert set(ClientOptions.__annotations__) == {name for name in keywords if not name.startswith("_")}
