"""Memory of the server of `psal paint`: what is painted and run stays in the state folder, not in the process."""

import gc
import tracemalloc

import numpy as np
import pytest
from PIL import Image

from psal_cli import memory

from .painting import Page, client, session

pytestmark = [pytest.mark.slow, pytest.mark.unsanitized]
SIZE = (800, 400)  # width, height
STROKES, RUNS, FIRST = 60, 6, 4
SLACK = 60_000_000  # bytes that the allocator takes and gives back between two runs


def test_strokes_and_runs_leave_nothing_in_memory(tmp_path):
    random = np.random.default_rng(0)
    Image.fromarray(random.integers(0, 256, (*SIZE[::-1], 3), np.uint8)).save(tmp_path / "photo.png")
    served = session(tmp_path / "photo.png", states=tmp_path / "state")
    page = Page(client(served))
    held, resident = [], []
    tracemalloc.start()  # of Python and numpy
    try:
        for number in range(FIRST + RUNS):
            for stroke in range(STROKES // RUNS):
                page.paint((30 + 30 * number, 100 + 20 * stroke, 3), (36 + 30 * number, 104 + 20 * stroke, 3), at=stroke)
            page.post("move", at=1)  # one place is filled, the others were painted and undone
            page.run()
            page.tile()
            page.tile(layer="original")
            gc.collect()
            held.append(tracemalloc.get_traced_memory()[0])
            resident.append(memory.resident() or 0)
    finally:
        tracemalloc.stop()
        served.close()
    picture = 3 * SIZE[0] * SIZE[1]
    assert held[-1] - held[FIRST - 1] < picture, held  # a leak would be of 6
    assert min(resident[-5:]) - max(resident[:FIRST]) < SLACK, resident
