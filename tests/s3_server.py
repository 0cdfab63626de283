"""A server that speaks S3's protocol on this machine (moto), and fails as a real one may."""

import io
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import contextmanager

from .serving import running

SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}


class Faults:
    """A WSGI application in front of moto's.

    Attributes:
        refuse: answers 503 to a request (method, path, its number from 1) where it returns True.
        stall: seconds that a request waits for after half of its body has come, by the same arguments.
        requests: how many of each method there were; stalled: how many wait now.
    """

    def __init__(self, application: Callable):
        self.application = application
        self.lock = threading.Lock()
        self.requests = Counter[str]()
        self.resets = 0
        self.reset()

    def reset(self) -> None:
        """Begins anew. A request that waits now is not answered any more: it may be of an earlier test."""
        self.resets += 1
        self.refuse = lambda method, path, number: False
        self.stall = lambda method, path, number: 0.0
        self.refused = self.stalled = 0
        self.requests.clear()

    def __call__(self, environment: dict, start: Callable) -> Iterable[bytes]:
        method, path = environment["REQUEST_METHOD"], environment["PATH_INFO"]
        with self.lock:
            self.requests[method] += 1
            number, begun = self.requests.total(), self.resets
        size = int(environment.get("CONTENT_LENGTH") or 0)
        body = environment["wsgi.input"].read(size // 2) if size else b""
        if pause := self.stall(method, path, number):
            self.stalled += 1
            time.sleep(pause)
            self.stalled -= 1
        body += environment["wsgi.input"].read(size - len(body)) if size else b""
        if len(body) != size or begun != self.resets:  # the client has gone in the middle: S3 stores nothing of it
            start("400 IncompleteBody", [])
            return [b""]
        if self.refuse(method, path, number):
            self.refused += 1
            start("503 Slow Down", [("Content-Type", "application/xml"), ("Content-Length", str(len(SLOW_DOWN)))])
            return [SLOW_DOWN]
        if size:
            environment["wsgi.input"] = io.BytesIO(body)
        return self.application(environment, start)


@contextmanager
def serving():
    """(the URL of a server, its `Faults`), on a free port."""
    import logging

    from moto.server import DomainDispatcherApplication, create_backend_app
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    faults = Faults(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, faults, threaded=True)
    with running(server):
        yield f"http://127.0.0.1:{server.server_port}", faults
