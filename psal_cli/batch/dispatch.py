"""Hands out the pictures of a batch to the workers of a Dask cluster, one task each, and collects the outcomes."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future as Planned
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from psal_cli import memory
from psal_cli.batch.clusters import GPU, MEMORY, ClusterError, Offer, offer, revive
from psal_cli.batch.inputs import Item
from psal_cli.batch.runner import Outcome, Stop
from psal_cli.errors import MemoryLimitError, PsalError

if TYPE_CHECKING:
    from distributed import Client, Future

Answer = TypeVar("Answer")  # what a task returns

RETRIES = 3  # after errors of Dask itself; after the death of a worker Dask has its own count, of three too
POLL = 0.5  # seconds between looks at the cluster while nothing ends
FETCHING = 10.0  # seconds for an answer of a few hundred bytes
FRESH = 2.0  # seconds for which the workers' offer is cached
AHEAD = 8  # pictures whose memory is planned before a worker is free
READERS = 4  # threads that plan
PATIENCE = 30.0  # seconds for a worker with enough memory to come back after a restart


class Task(Protocol[Answer]):
    """How a picture is submitted and its answer is interpreted."""

    def submit(self, item: Item, key: str, resources: dict[str, float], since: float | None) -> Future[Answer]:
        """since: when an earlier attempt began, which may have written some of the results; None for the first."""

    def settle(self, item: Item, answer: Answer, begun: int) -> Outcome[str] | None:
        """begun: how many times a worker has begun this task. None if it must be repeated."""


@dataclass(eq=False)
class _Attempt:
    item: Item
    key: str


class Dispatch(Generic[Answer]):
    """One run over the pictures. Only as many are handed out as there are free workers, so that a dying worker costs only its
    current picture."""

    def __init__(
        self,
        client: Client,
        name: str,
        items: Sequence[Item],
        task: Task[Answer],
        needs: Callable[[Item], int],
        stop: Stop,
        keep_going: bool,
        gpu: bool,
        local: int | None,
        warn: Callable[[str], None],
    ):
        """needs: bytes that a picture takes, asked where workers declare their memory; name: of the run, and of the topic under
        which workers log (key, own address) of tasks that they begin; local: how many workers are to be kept alive on this
        machine; warn: says something to the user."""
        self.client, self.name, self.task, self.needs = client, name, task, needs
        self.stop, self.keep_going, self.gpu, self.local, self.warn = stop, keep_going, gpu, local, warn
        self.waiting = deque(items)
        self.planned: deque[tuple[Item, Planned[int] | None]] = deque()
        self.running: dict[Future[Answer], _Attempt] = {}
        self.suspects: deque[Item] = deque()  # suspects: their workers died too often, perhaps because of another picture
        self.alone = False  # whether a suspect is running, alone
        self.ended: SimpleQueue[Future[Answer]] = SimpleQueue()
        self.lost: set[Future[Answer]] = set()  # tasks whose answers are being recomputed
        self.unfit: dict[Future[Answer], float] = {}  # tasks for which no worker has enough memory, and since when
        self.begun = Counter[str]()
        self.workers: dict[str, set[str]] = {}  # key -> workers that have begun it
        self.first: dict[Item, float] = {}  # when it was first handed out
        self.tries = Counter[Item]()
        self.resources: dict[Item, dict[str, float]] = {}
        self.count = 0
        self.offer = offer(client, gpu)
        self.asked = time.monotonic()

    def outcomes(self) -> Iterator[Outcome[str]]:
        """Yields the outcome of each picture as it ends. A picture that a signal stopped has the error KeyboardInterrupt, those
        that were not reached have no outcome. Raises ClusterError where the scheduler is lost."""
        self.client.subscribe_topic(self.name, self._hear)
        going = True
        with ThreadPoolExecutor(READERS, "psal-plans") as self.pool:
            try:
                while not self.stop.asked and (self.running or (going and (self.waiting or self.planned or self.suspects))):
                    try:
                        with self.stop.hold(False):
                            outcome = self._step(going)
                    except KeyboardInterrupt:
                        break
                    if outcome is not None:
                        going = self.keep_going or (going and outcome.error is None)
                        yield outcome
                yield from self._interrupted()
            finally:
                for _, plan in self.planned:
                    if plan:
                        plan.cancel()
                with suppress(Exception):  # of a scheduler that has gone
                    self.client.cancel(list(self.running), force=True)
                    self.client.unsubscribe_topic(self.name)

    def _hear(self, event: tuple[float, tuple[str, str]]) -> None:
        _, (key, worker) = event
        self.begun[key] += 1
        self.workers.setdefault(key, set()).add(worker)

    def _step(self, going: bool) -> Outcome[str] | None:
        """Fills the workers, then waits until something ends."""
        refused = self._fill() if going else None
        if refused is not None:
            return refused
        for future in [future for future in self.lost if future.status not in ("lost", "pending")]:
            self.lost.remove(future)
            self.ended.put(future)
        try:
            future = self.ended.get(timeout=POLL)
        except Empty:
            self._look()
            return self._unfit() or self._guilty()
        return self._settled(future) if future in self.running else None

    def _look(self, always: bool = True) -> None:
        """Refreshes the workers' offer if it is old. Raises ClusterError."""
        if self.client.status not in ("running", "newly-created"):
            raise self._lost()
        if always or time.monotonic() - self.asked > FRESH:
            before = self.offer
            self.offer, self.asked = offer(self.client, self.gpu), time.monotonic()
            if self.local and len(self.offer.addresses) < self.local:
                revive(self.client, self.local)
            elif before.slots and not self.offer.slots:
                self.warn("no worker is left: waiting for one to join")

    def _lost(self) -> ClusterError:
        left = len(self.running) + len(self.waiting) + len(self.planned) + len(self.suspects)
        return ClusterError(f"the scheduler has gone, {left} pictures are not done")

    def _fill(self) -> Outcome[str] | None:
        """Hands out pictures while workers are free; returns the outcome of one that cannot be handed out."""
        self._look(always=False)
        if self.alone:
            return None
        while len(self.running) < self.offer.slots and (pair := self._next()):
            item, plan = pair
            self.resources[item] = resources = {GPU: 1.0} if self.gpu else {}
            try:
                if plan is not None:
                    resources[MEMORY] = float(self._checked(plan.result(), self.offer))
            except Exception as error:
                return Outcome(item, error=error)
            self._submit(item)
        if not (self.waiting or self.planned or self.running) and self.suspects:
            self.alone = True
            self._submit(self.suspects.popleft(), again=True)
        return None

    def _next(self) -> tuple[Item, Planned[int] | None] | None:
        while self.waiting and len(self.planned) < AHEAD:
            item = self.waiting.popleft()
            self.planned.append((item, None if self.offer.memory is None else self.pool.submit(self.needs, item)))
        return self.planned.popleft() if self.planned else None

    @staticmethod
    def _checked(needed: int, offered: Offer) -> int:
        if offered.memory is not None and needed > offered.memory:
            raise _too_large(needed, offered.memory)
        return needed

    def _submit(self, item: Item, again: bool = False) -> None:
        self.count += 1
        attempt = _Attempt(item, f"{self.name}-{self.count}")
        first = self.first.setdefault(item, time.time())
        future = self.task.submit(item, attempt.key, self.resources[item], first if again else None)
        self.running[future] = attempt
        future.add_done_callback(self.ended.put)

    def _settled(self, future: Future[Answer]) -> Outcome[str] | None:
        """The outcome of a finished task, None if it is retried."""
        from distributed import KilledWorker

        item, key = (attempt := self.running[future]).item, attempt.key
        if future.status in ("lost", "pending"):  # the worker died with the answer before it was fetched: it is recomputed
            self.lost.add(future)  # a callback would come at once
            return None
        try:
            if future.status == "cancelled":
                raise self._lost()
            outcome = self.task.settle(item, future.result(timeout=FETCHING), self.begun[key])
        except ClusterError:
            raise
        except TimeoutError:  # as above, while the answer was being fetched
            self.lost.add(future)
            return None
        except KilledWorker:
            return self._killed(future, item)
        except Exception as error:
            if self.client.status != "running":
                raise self._lost() from error
            self.tries[item] += 1
            if self.tries[item] > RETRIES:
                self._drop(future)
                words = f"{item.input}: no worker could do it in {RETRIES + 1} attempts: {type(error).__name__}: {error}"
                return Outcome(item, error=PsalError(" ".join(words.split())))
            outcome = None
        self._drop(future)
        if outcome is None:
            self._submit(item, again=True)
        else:
            del self.resources[item], self.first[item]
        return outcome

    def _killed(self, future: Future[Answer], item: Item) -> Outcome[str] | None:
        """A picture at which several workers died is retried alone after all others: another picture on the same workers may have
        killed them."""
        if not self.alone:
            self._drop(future)
            self.suspects.append(item)
            return None
        self._drop(future)
        return Outcome(item, error=PsalError(f"{item.input}: each worker that was given it died, it is left out"))

    def _guilty(self) -> Outcome[str] | None:
        """A suspect at which another worker died while it ran alone."""
        if not self.alone or len(self.running) != 1:
            return None
        (future, attempt), *_ = self.running.items()
        if self.workers.get(attempt.key, set()) <= self.offer.addresses:
            return None
        self._cancel(future)
        return self._killed(future, attempt.item)

    def _unfit(self) -> Outcome[str] | None:
        """A picture that needs more memory than any remaining worker has."""
        if not self.offer.slots:
            return None
        now, most = time.monotonic(), self.offer.memory or 0
        large = [future for future, attempt in self.running.items() if self.resources[attempt.item].get(MEMORY, 0) > most]
        self.unfit = {future: self.unfit.get(future, now) for future in large}
        future = next((future for future, since in self.unfit.items() if now - since >= PATIENCE), None)
        if future is None:
            return None
        item = self.running[future].item
        self._cancel(future)
        self._drop(future)
        return Outcome(item, error=_too_large(int(self.resources[item][MEMORY]), most))

    def _cancel(self, future: Future[Answer]) -> None:
        with suppress(Exception):  # of a scheduler that has gone
            self.client.cancel([future], force=True)

    def _drop(self, future: Future[Answer]) -> None:
        if attempt := self.running.pop(future, None):
            self.workers.pop(attempt.key, None)
        self.lost.discard(future)
        future.release()
        if not self.running:
            self.alone = False

    def _interrupted(self) -> Iterator[Outcome[str]]:
        """After a signal: tasks that had ended by then, and the others as interrupted."""
        for future, attempt in list(self.running.items()):
            outcome: Outcome[str] | None = None
            if future.status == "finished":
                with suppress(Exception):
                    outcome = self.task.settle(attempt.item, future.result(timeout=POLL), self.begun[attempt.key])
            yield outcome or Outcome(attempt.item, error=KeyboardInterrupt())


def _too_large(needed: int, most: int) -> MemoryLimitError:
    words = f"it takes {memory.in_words(needed)} of memory, the largest worker gives {memory.at_most(most)}"
    return MemoryLimitError(f"{words}: start fewer workers, or larger ones")
