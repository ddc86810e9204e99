"""Which tasks this worker has begun, noted beside the broker before it touches them, so that a message which ends its
workers is known as one.

    omninode:begun:<task id> = "host:pid:run[!] ..."  who has begun it and not settled it; ! where it was alone there
    omninode:worker:<host:pid:run>                    that worker lives; goes by itself 30 s after it does not

A worker that ends takes with it whatever it was at: one of these messages may be why, and the others are not. So who
finds that a worker has died with a message takes it alone, when nothing else is under way in its process: only the
guilty one ends that worker too. What a worker had only fetched was never begun, and a worker that is stopped takes its
notes back first. After `DEATHS` deaths, two of them alone, the message is set aside (tasks/settle.py), unread if it is
reading that does it (task_summary.py); its note stays, for other copies of it.

One command to the broker for each message; notes of what is settled are removed many at a time. Where they cannot be
written, work goes on without them.
"""

import logging
import os
import secrets
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from celery.exceptions import Reject

logger = logging.getLogger(__name__)

DEATHS = 3
ALONE_DEATHS = 2  # of these: the first death of all accuses whatever was under way
NOTE_S = 24 * 3600  # a message that does not come again within it is forgotten
ALIVE_S = 30
REFRESH_S = 10.0
MANY_SETTLED = 500  # tasks: then their notes are removed, at the latest with the next sign of life
ALONE = "!"


class BegunTasks:
    """The notes of one worker. Used by many threads.

    client  gives what talks to the broker, as redis-py does; None where there is nothing of the kind
    """

    def __init__(self, client: Callable[[], Any] | None, *, key_prefix: str = "") -> None:
        self._client = client
        self._prefix = key_prefix
        self._token = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}".replace(" ", "")
        self._turns = Turns()
        self._lock = threading.Lock()
        self._settled: deque[str] = deque()
        self._under_way: dict[str, str] = {}  # key: what was noted there before
        self._deaths: dict[str, int] = {}
        self._noting = True
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Say that this worker lives, from now on. Called in the process that works."""
        host, _, run = self._token.split(":")
        self._token = f"{host}:{os.getpid()}:{run}"
        self._stop.clear()
        self._thread = threading.Thread(target=self._live, name="begun-tasks", daemon=True)
        self._thread.start()

    def forgive(self) -> None:
        """The worker is being stopped: if it ends from now on, that is nobody's fault."""
        with self._lock:
            taken_back, self._under_way = self._under_way, {}

        def take_back(pipe: Any) -> None:
            for key, before in taken_back.items():
                self._put(pipe, key, before)

        self._try(take_back)

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

        def leave(pipe: Any) -> None:
            self._forget_settled(pipe)
            pipe.unlink(self._key("worker", self._token))

        self._try(leave)

    def deaths(self, task_id: str) -> int:
        """How many workers died with this message, which is under way here, where it is the reason; else 0."""
        return self._deaths.get(task_id, 0)

    @contextmanager
    def working_on(self, task_id: str) -> Iterator[int]:
        """The block is this task's work. Gives what `deaths` says during it."""
        if self._client is None:
            yield 0
            return
        key = self._key("begun", task_id)
        self._turns.share()
        before, dead = self._begin(key)
        if dead:
            self._turns.end_share()
            self._turns.take_alone()
            self._note(key, before, f"{before} {self._token}{ALONE}")
        alone_deaths = sum(token.endswith(ALONE) for token in dead)
        guilty = len(dead) if len(dead) >= DEATHS and alone_deaths >= ALONE_DEATHS else 0
        if guilty:
            self._deaths[task_id] = guilty
        given_back = False
        try:
            yield guilty
        except Reject as reject:
            given_back = bool(reject.requeue)
            raise
        finally:
            self._deaths.pop(task_id, None)
            self._end(key, before, stays=given_back or guilty > 0)
            if dead:
                self._turns.end_alone()
            else:
                self._turns.end_share()

    # ---- inside -----------------------------------------------------------------------------------------------------

    def _begin(self, key: str) -> tuple[str, list[str]]:
        """Note that the task is begun. Returns what was noted before, and which of these notes are of dead workers:
        with any, this one is taken back, since the task is not begun yet."""
        with self._lock:
            self._under_way[key] = ""
            many = len(self._settled) >= MANY_SETTLED
        before = _text(self._ask(lambda client: client.set(key, self._token, ex=NOTE_S, get=True)))
        if many:
            self._try(self._forget_settled)
        if not before:
            return "", []
        dead = self._dead(before.split())
        self._note(key, before, before if dead else f"{before} {self._token}")
        return before, dead

    def _end(self, key: str, before: str, *, stays: bool) -> None:
        """What is settled is forgotten a little later; of what `stays` only this worker's note goes, at once."""
        with self._lock:
            is_noted = self._under_way.pop(key, None) is not None
            if is_noted and not stays:
                self._settled.append(key)
        if is_noted and stays:
            self._try(lambda pipe: self._put(pipe, key, before))

    def _note(self, key: str, before: str, value: str) -> None:
        with self._lock:
            self._under_way[key] = before
        self._try(lambda pipe: self._put(pipe, key, value))

    def _put(self, pipe: Any, key: str, value: str) -> None:
        if value:
            pipe.set(key, value, ex=NOTE_S)
        else:
            pipe.unlink(key)

    def _dead(self, tokens: list[str]) -> list[str]:
        """Those of workers that live no more. A worker's sign of life outlasts it; on this host its process tells."""
        others = [token for token in tokens if token.removesuffix(ALONE) != self._token]
        if not others:
            return []
        keys = [self._key("worker", token.removesuffix(ALONE)) for token in others]
        signs = self._ask(lambda client: client.mget(keys))
        if signs is None:
            return []
        found = zip(others, signs, strict=True)
        return [token for token, sign in found if sign is None or _is_gone(token, here=self._token)]

    def _live(self) -> None:
        while not self._stop.is_set():
            self._try(self._say_alive)
            self._stop.wait(REFRESH_S)

    def _say_alive(self, pipe: Any) -> None:
        pipe.set(self._key("worker", self._token), "1", ex=ALIVE_S)
        self._forget_settled(pipe)

    def _forget_settled(self, pipe: Any) -> None:
        with self._lock:
            settled = list(self._settled)
            self._settled.clear()
        if settled:
            pipe.unlink(*settled)

    def _try(self, fill: Callable[[Any], Any]) -> None:
        """Send what `fill` puts into a pipeline."""

        def send(client: Any) -> None:
            with client.pipeline(transaction=False) as pipe:
                fill(pipe)
                pipe.execute()

        self._ask(send)

    def _ask(self, question: Callable[[Any], Any]) -> Any:
        """The answer; None where there is none, or nobody to ask."""
        if self._client is None:
            return None
        try:
            answer = question(self._client())
        except Exception as error:
            if self._noting:
                self._noting = False
                logger.warning("begun_tasks_not_noted", extra={"fields": {"reason": type(error).__name__}})
            return None
        self._noting = True
        return answer

    def _key(self, kind: str, name: str) -> str:
        return f"{self._prefix}omninode:{kind}:{name}"


class Turns:
    """Many at a time, or one alone; who wants to be alone goes before those who come later."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._sharing = 0
        self._waiting = 0
        self._alone = False

    def share(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._waiting)
            self._sharing += 1

    def end_share(self) -> None:
        with self._changed:
            self._sharing -= 1
            self._changed.notify_all()

    def take_alone(self) -> None:
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._alone and not self._sharing)
            self._waiting -= 1
            self._alone = True

    def end_alone(self) -> None:
        with self._changed:
            self._alone = False
            self._changed.notify_all()


def _is_gone(token: str, *, here: str) -> bool:
    """Whether a worker of this host has no process any more."""
    host, pid, _ = token.removesuffix(ALONE).split(":")
    if host != here.split(":")[0]:
        return False
    if pid == here.split(":")[1]:
        return True  # this process has its number now
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value or "")
