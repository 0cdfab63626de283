"""Connects to a Dask cluster, or to worker processes on this machine, and finds what its workers offer."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psal_cli import memory
from psal_cli.errors import InputError, PsalError

if TYPE_CHECKING:
    from distributed import Client, LocalCluster

LOCAL = re.compile(r"local:(\d{1,3})")
ADDRESS = re.compile(r"((tcp|tls|ws|wss|ucx)://)?[\w.\[\]:-]+:\d{1,5}")
MEMORY, GPU = "MEMORY", "GPU"  # resources of workers, named as in Dask's documentation
CONNECTING = 10  # seconds
JOINING = 60  # seconds for the first worker to join: the cluster may be starting
FRUGAL = {  # settings for the processes of a local cluster
    # Dask makes workers return freed memory at once; fetching the same pages again would take half of all CPU time.
    "distributed.nanny.pre-spawn-environ": dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), 1),
    # Its monitoring is for a dashboard, and takes 4 % of a core.
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "5s",
    "distributed.admin.tick.interval": "1s",
}


class ClusterError(PsalError):
    """The cluster was lost in the middle of a batch."""


@dataclass(frozen=True)
class Offer:
    """What the connected workers offer together.

    Attributes:
        slots: how many pictures they can process at once.
        memory: bytes that the largest worker has for pictures, None if no worker declares any.
        addresses: of the workers.
    """

    slots: int
    memory: int | None
    addresses: frozenset[str]


def check_address(text: str) -> str | None:
    """Describes what is wrong with the address of a cluster; None if it may be valid."""
    if (match := LOCAL.fullmatch(text)) and int(match[1]):
        return None
    if ADDRESS.fullmatch(text) and not text.startswith("local:"):
        return None
    return f"{text!r} is not a cluster: the address of a Dask scheduler, e.g. tcp://host:8786, or local:N for N processes here"


def local_workers(address: str) -> int | None:
    """The N of "local:N"; None for the address of a scheduler."""
    match = LOCAL.fullmatch(address)
    return int(match[1]) if match else None


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at an address, or of "local:N" workers, which are stopped on exit.

    Raises InputError if distributed is not installed, or nothing answers.
    """
    try:
        import dask
        import distributed
    except ImportError as error:
        raise InputError("a cluster needs Dask's distributed: pip install 'psal[cluster]'") from error
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # psal reports what matters itself
    count = local_workers(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about versions, which psal checks itself
        if count is None:
            with _remote(address) as client:
                yield client
            return
        with dask.config.set(FRUGAL), _local(count) as here, distributed.Client(here, set_as_default=False) as client:
            yield client


def _local(count: int) -> LocalCluster:
    from distributed import LocalCluster

    return LocalCluster(
        n_workers=count,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        silence_logs=logging.CRITICAL,
        memory_limit=0,  # psal plans its memory; Dask's limit would kill a worker in the middle of a picture
        resources={MEMORY: (memory.available() or 2**33) // count},
    )


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECTING, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        problem = f"{address}: no scheduler answers there within {CONNECTING} seconds"
        raise InputError(f"{problem}: start one with dask scheduler, or correct the address") from error
    try:
        with suppress(TimeoutError):  # reported below
            client.wait_for_workers(1, timeout=JOINING)
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise InputError(f"{address}: no worker has joined within {JOINING} seconds: start some with dask worker")
        yield client
    finally:
        with suppress(Exception):  # the scheduler may be gone
            client.close(timeout=2)


def offer(client: Client, gpu: bool) -> Offer:
    """What the workers offer now. gpu: whether each picture takes a GPU.

    Workers that declare MEMORY take as many pictures at once as they have memory and threads for, all others one each.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"]
    resources = {address: dict(info.get("resources") or {}) for address, info in workers.items()}
    declared = [int(has[MEMORY]) for has in resources.values() if MEMORY in has]
    fit = [address for address, has in resources.items() if (not declared or MEMORY in has) and (not gpu or GPU in has)]
    slots = 0
    for address in fit:
        threads = int(workers[address]["nthreads"]) if declared else 1
        slots += min(threads, int(resources[address][GPU])) if gpu else threads
    return Offer(slots, max(declared, default=None), frozenset(workers))


def revive(client: Client, workers: int) -> None:
    """Replaces workers of this machine that Dask does not restart, such as one killed while it started."""
    if client.cluster is not None:
        with suppress(Exception):  # the cluster may be about to end
            client.cluster.scale(workers)


def cores_each(workers: int) -> int:
    """The number of CPU threads for each of `workers` workers on this machine."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // workers)
