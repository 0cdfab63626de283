"""A connection to a Dask cluster, or to worker processes of this machine, and what its workers have to offer."""

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
    from distributed import Client

LOCAL = re.compile(r"local:(\d{1,3})")
ADDRESS = re.compile(r"((tcp|tls|ws|wss|ucx)://)?[\w.\[\]:-]+:\d{1,5}")
MEMORY, GPU = "MEMORY", "GPU"  # resources of workers, named as in Dask's documentation
CONNECTING = 10  # seconds
JOINING = 60  # seconds until the first worker is there: a cluster may be starting


class ClusterError(PsalError):
    """The cluster was lost in the middle of a batch."""


@dataclass(frozen=True)
class Offer:
    """What the workers that are there now offer together.

    Attributes:
        slots: pictures that they can work on at once.
        memory: bytes that the largest of them gives to pictures, None where none says.
        addresses: of the workers.
    """

    slots: int
    memory: int | None
    addresses: frozenset[str]


def check_address(text: str) -> str | None:
    """What is wrong with the address of a cluster; None where it may be right."""
    if (match := LOCAL.fullmatch(text)) and int(match[1]):
        return None
    if ADDRESS.fullmatch(text) and not text.startswith("local:"):
        return None
    return f"{text!r} is not a cluster: the address of a Dask scheduler, e.g. tcp://host:8786, or local:N for N processes here"


def local_workers(address: str) -> int | None:
    """N of "local:N"; None for the address of a scheduler."""
    match = LOCAL.fullmatch(address)
    return int(match[1]) if match else None


@contextmanager
def connected(address: str) -> Iterator[Client]:
    """A client of the scheduler at an address, or of "local:N" workers that end with it.

    Raises InputError: distributed is not installed, or nothing answers.
    """
    try:
        import distributed
    except ImportError as error:
        raise InputError("a cluster needs Dask's distributed: pip install 'psal[cluster]'") from error
    for name in ("distributed", "tornado", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters of it is said in our lines
    count = local_workers(address)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions, which are checked
        if count is None:
            with _remote(address) as client:
                yield client
            return
        here = distributed.LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            silence_logs=logging.CRITICAL,
            memory_limit=0,  # a plan is kept to; Dask's own limit would kill a worker in the middle of a picture
            resources={MEMORY: (memory.available() or 2**33) // count},
        )
        with here, distributed.Client(here, set_as_default=False) as client:
            yield client


@contextmanager
def _remote(address: str) -> Iterator[Client]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECTING, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        problem = f"{address}: no scheduler answers there within {CONNECTING} seconds"
        raise InputError(f"{problem}: start one with dask scheduler, or correct the address") from error
    try:
        with suppress(TimeoutError):  # then there is none, which is said below
            client.wait_for_workers(1, timeout=JOINING)
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise InputError(f"{address}: no worker has joined within {JOINING} seconds: start some with dask worker")
        yield client
    finally:
        with suppress(Exception):  # of a scheduler that has gone
            client.close(timeout=2)


def offer(client: Client, gpu: bool) -> Offer:
    """What the workers offer now. gpu: each picture takes a GPU.

    Where workers declare MEMORY, they take as many pictures at once as fit into it and have threads for; else one each.
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
    """Starts workers of this machine in place of those that have gone for good, as one does that is killed while it starts."""
    if client.cluster is not None:
        with suppress(Exception):  # the cluster may be about to end
            client.cluster.scale(workers)


def cores_each(workers: int) -> int:
    """CPU threads for each of so many workers of this machine."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, count // workers)
