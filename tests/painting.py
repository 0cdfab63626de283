"""`psal paint` without a browser: its application, asked as the page would."""

import time
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="psal[paint] is not installed")

from starlette.testclient import TestClient

from psal_cli.batch import inputs, plan
from psal_cli.image import READABLE
from psal_cli.paint.app import application
from psal_cli.paint.session import Session

TOKEN = "t0ken" * 5
PORT = 8123
BASE = f"http://127.0.0.1:{PORT}"


class Page:
    """What the page does with one picture. revision: the last one that it was told of."""

    def __init__(self, client, number=0):
        self.client, self.path = client, f"/api/pictures/{number}"
        self.open()

    def open(self):
        self.record = self.get()
        self.revision = self.record["revision"]
        return self.record

    def get(self, name=""):
        answer = self.client.get(self.path + name)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def ask(self, name, /, **record):
        """The answer, whatever it is."""
        return self.client.post(f"{self.path}/{name}", json={"revision": self.revision} | record)

    def post(self, name, /, **record):
        answer = self.ask(name, **record)
        assert answer.status_code == 200, answer.text
        self.revision = answer.json().get("revision", self.revision)
        return answer.json()

    def paint(self, *points, at=None, **more):
        """A stroke of the brush through (x, y, radius)."""
        stroke = {"tool": "brush", "layer": "mask", "points": [number for point in points for number in point]} | more
        at = self.get()["document"]["at"] if at is None else at
        return self.post("strokes", at=at, strokes=[stroke])

    def wait(self):
        """The job's last report."""
        while True:
            found = self.get("/job")
            if found["job"]["state"] not in ("waiting", "running"):
                self.revision = found["revision"]
                return found
            time.sleep(0.02)

    def run(self, **options):
        """Runs and waits for what comes of it."""
        self.post("run", **{"engine": "patch", "iterations": 1} | options)
        found = self.wait()
        assert found["job"]["state"] == "done", found["job"]["error"]
        return found

    def tile(self, level=0, column=0, row=0, layer="current"):
        return self.client.get(f"{self.path}/tiles/{layer}/{level}/{column}/{row}")


def session(*paths, states, output=None):
    items, several = inputs.find_inputs(map(str, paths), (), False, READABLE)
    items = plan.place(items, {"output": output}, several, None, "_inpainted", None)
    found = Session(items, Path(states), lambda: "cpu", 10_000_000)
    found.warm_up = lambda: None  # a thread that outlives the test would settle what other tests measure
    return found


def client(served, headers=None, base=BASE):
    headers = {"x-psal-token": TOKEN} if headers is None else headers
    return TestClient(application(served, PORT, TOKEN), base_url=base, headers=headers)
