"""Collects the library's warnings for the page."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def heard() -> Iterator[list[str]]:
    """Collects the library's warnings in this thread, for instance that a format cannot hold 16 bits."""
    said: list[str] = []
    own = threading.get_ident()

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == own:
                said.append(record.getMessage())

    listener, log = Listener(logging.WARNING), logging.getLogger("psal_cli")
    log.addHandler(listener)
    try:
        yield said
    finally:
        log.removeHandler(listener)
