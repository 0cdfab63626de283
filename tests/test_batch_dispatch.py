"""What the dispatcher of a cluster does when workers leave, with a cluster that is made up: no Dask runs here."""

import threading
from pathlib import Path

import pytest

from psal_cli.batch import dispatch
from psal_cli.batch.dispatch import Dispatch
from psal_cli.batch.inputs import Item
from psal_cli.batch.runner import Outcome, Stop

distributed = pytest.importorskip("distributed", reason="--cluster needs psal[cluster]")

GB = 10**9


class Future:
    """One of Dask, whose state the tests set."""

    def __init__(self):
        self.status, self.error, self.called, self.asked = "pending", None, threading.Event(), 0

    def end(self, status="finished", error=None):
        self.status, self.error = status, error
        self.callback(self)

    def add_done_callback(self, callback):
        self.asked += 1
        self.callback = callback
        if self.status != "pending":  # as Dask does, for a lost answer too
            callback(self)

    def result(self, timeout):
        if self.error:
            raise self.error
        return "answer"

    def release(self):
        pass


class Cluster:
    """The client of a cluster whose workers are `resources` by address; also the task."""

    status, cluster = "running", None

    def __init__(self, resources, after):
        """after: called with the number of looks at the cluster, before each."""
        self.resources, self.after, self.looks, self.futures, self.since, self.cancelled = resources, after, 0, [], [], []

    def scheduler_info(self, n_workers):
        self.looks += 1
        self.after(self, self.looks)
        return {"workers": {address: {"resources": has, "nthreads": 1} for address, has in self.resources.items()}}

    def subscribe_topic(self, name, hear):
        self.hear = hear

    def unsubscribe_topic(self, name):
        pass

    def cancel(self, futures, force):
        self.cancelled += futures

    def submit(self, item, key, resources, since):
        self.futures.append(Future())
        self.since.append(since)
        self.key = key
        return self.futures[-1]

    def settle(self, item, answer, begun):
        return Outcome(item, answer)


def ended(cluster, needs=GB):
    item = Item(Path("a.png"), Path("a.png"), "a.png")
    run = Dispatch(cluster, "run", [item], cluster, lambda _: needs, Stop(), True, False, None, print)
    (outcome,) = run.outcomes()
    return outcome


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(dispatch, "POLL", 0.01)


def killed():
    return distributed.KilledWorker("a", None, 0)


def test_pictures_that_take_a_gpu_go_one_at_a_time_to_a_worker_with_one():
    """It must have memory to give too, where any worker has: Dask looks at both."""
    seen = []

    class Noting(Cluster):
        def submit(self, item, key, resources, since):
            assert all(future.status == "finished" for future in self.futures)
            seen.append((item.listed, resources))
            return super().submit(item, key, resources, since)

    def after(cluster, looks):
        for future in cluster.futures:
            if future.status == "pending":
                future.end()
        assert looks < 200, "it waits for ever"

    cluster = Noting({"cpu": {"MEMORY": 8 * GB}, "gpu": {"MEMORY": 4 * GB, "GPU": 1}, "bare": {"GPU": 1}}, after)
    items = [Item(Path(name), Path(name), name) for name in ("a.png", "b.png")]
    run = Dispatch(cluster, "run", items, cluster, lambda _: GB, Stop(), True, True, None, print)
    assert [outcome.error for outcome in run.outcomes()] == [None, None]
    assert seen == [(name, {"GPU": 1.0, "MEMORY": float(GB)}) for name in ("a.png", "b.png")]


def test_an_answer_that_is_lost_is_waited_for_without_haste():
    def after(cluster, looks):
        if looks == 2:
            cluster.futures[0].end("lost")
        if looks == 12:  # ten looks later; nothing tells, as the callback has come
            cluster.futures[0].status = "finished"

    cluster = Cluster({"one": {}}, after)
    assert ended(cluster).result == "answer"
    assert cluster.futures[0].asked == 1


@pytest.mark.parametrize(("leaving", "is_guilty"), [("other", False), ("one", True)])
def test_only_the_worker_that_has_begun_a_suspect_speaks_against_it(leaving, is_guilty):
    def after(cluster, looks):
        if looks == 2:
            cluster.futures[0].end("error", killed())
        if looks == 6:
            cluster.hear((0.0, (cluster.key, "one")))
            del cluster.resources[leaving]
        if looks == 10:
            cluster.futures[1].end()

    cluster = Cluster({"one": {}, "other": {}}, after)
    outcome = ended(cluster)
    assert (outcome.error is not None) == is_guilty and len(cluster.futures) == 2
    if is_guilty:
        assert "each worker that was given it died" in str(outcome.error)


def test_a_picture_that_fits_no_worker_any_more_fails_with_what_it_takes(monkeypatch):
    monkeypatch.setattr(dispatch, "PATIENCE", 0.05)

    def after(cluster, looks):
        if looks == 2:
            del cluster.resources["large"]
        assert looks < 200, "it waits for ever"

    cluster = Cluster({"large": {"MEMORY": 2 * GB}, "small": {"MEMORY": GB // 2}}, after)
    outcome = ended(cluster)
    assert outcome.error.exit_code == 4 and "it takes 1.00 GB of memory, the largest worker gives 0.50 GB" in str(outcome.error)
    assert cluster.cancelled[:1] == cluster.futures


def test_a_worker_that_comes_back_in_time_goes_on():
    def after(cluster, looks):
        if looks == 2:
            cluster.large = cluster.resources.pop("large")
        if looks == 6:
            cluster.resources["large again"] = cluster.large
            cluster.futures[0].end()

    assert ended(Cluster({"large": {"MEMORY": 2 * GB}, "small": {"MEMORY": GB // 2}}, after)).result == "answer"
