"""Painted colours on the page of `psal paint`: what the library gets of them, where they stay, and what is saved."""

import io

import numpy as np
import pytest
from PIL import Image

from psal_cli.image.painted_colours import painted_colours
from psal_cli.image.strokes import parsed, read_strokes
from psal_cli.verbs.colorize import api as colorize

from .painting import Page, client, session
from .photos import psal
from .pictures import pixels_of

SIZE = (64, 48)  # width, height
RED, BLUE = "#c82828", "#2846c8"


@pytest.fixture
def serve(tmp_path):
    """A function that starts a server on a grey picture; the one before comes to its end."""
    begun = []

    def start():
        path = tmp_path / "grey.png"
        if not path.exists():
            pixels = np.linspace(20, 90, SIZE[0]).astype(np.uint8)[None].repeat(SIZE[1], 0)
            Image.fromarray(np.where(np.indices(pixels.shape)[1] < 32, pixels, pixels + 120).astype(np.uint8)).save(path)
        for old in begun:
            old.close()
        begun.append(session(path, states=tmp_path / "state"))
        return Page(client(begun[-1]))

    yield start
    for old in begun:
        old.close()


@pytest.fixture
def asked(monkeypatch):
    """Stands in for the library; a list of the hints and the references that it was given."""
    given = []

    def stand_in(image, references, options, *, hints, **hooks):
        given.append((hints, len(references)))
        return colorize.ColorizeResult(np.stack([image if image.ndim == 2 else image[..., 0]] * 3, 2), None, None, 0.4)

    monkeypatch.setattr(colorize, "colorize", stand_in)
    return given


def hint(page, *points, colour=RED, **more):
    record = {} if more.get("erase") else {"colour": colour}
    return page.paint(*points, layer="hint", **record, **more)


def coloured(page, **record):
    page.post("colour", **record)
    found = page.wait()
    assert found["job"]["state"] == "done", found["job"]["error"]
    return found


@pytest.mark.slow
def test_painted_colours_are_what_the_command_makes_of_the_saved_ones(serve, tmp_path):
    page = serve()
    hint(page, (16, 24, 4))
    hint(page, (40, 10, 3), (50, 30, 5), colour=BLUE)
    hint(page, (50, 30, 2), erase=True)
    coloured(page)
    page.post("save", name="page.png", hints=True)
    hints = Image.open(tmp_path / "grey_hints.png")
    assert hints.mode == "RGBA" and hints.getpixel((16, 24)) == (200, 40, 40, 255) and hints.getpixel((50, 30))[3] == 0
    made = psal("colorize", tmp_path / "grey.png", "--hints", tmp_path / "grey_hints.png", "-o", tmp_path / "command.png")
    assert made.exit_code == 0, made.stderr
    assert (tmp_path / "page.png").read_bytes() == (tmp_path / "command.png").read_bytes()
    left, right = (pixels_of(tmp_path / "page.png")[:, part].astype(int).mean((0, 1)) for part in (np.s_[:28], np.s_[36:]))
    assert left[0] > left[2] + 10 and right[2] > right[0] + 10


def test_painted_colours_stay_for_the_next_run_and_the_mask_waits(serve, asked):
    page = serve()
    hint(page, (16, 24, 4))
    page.paint((40, 30, 4))
    found = coloured(page, references=[])
    assert [stroke["layer"] for stroke in found["document"]["strokes"]] == ["hint", "mask"]
    hint(page, (50, 24, 4), colour=BLUE)
    found = page.run()
    assert [stroke.get("colour") for stroke in found["document"]["strokes"]] == [RED, BLUE]
    coloured(page)
    expected = painted_colours([parsed(stroke) for stroke in found["document"]["strokes"]], SIZE)
    assert np.array_equal(asked[-1][0], expected) and asked[-1][1] == 0
    found = page.post("go", position=0)
    assert [stroke["layer"] for stroke in found["document"]["strokes"]] == ["hint", "mask"]


def test_colours_that_were_run_are_no_unsaved_work(serve, asked, tmp_path):
    page = serve()
    hint(page, (16, 24, 4))
    coloured(page)
    page.post("save")
    page = serve()
    assert page.record["document"]["steps"] == [] and not list((tmp_path / "state").rglob("*.npy"))
    hint(page, (16, 24, 4))
    coloured(page)
    page.post("save", name="second.png")
    hint(page, (30, 24, 4))  # this one is
    assert [stroke["points"][0] for stroke in serve().record["document"]["strokes"]] == [16, 30]


def test_what_contradicts_the_pictures_is_told(serve, asked):
    page = serve()
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)).save(file, "PNG")
    number = page.client.post("/api/references", content=file.getvalue()).json()["number"]
    hint(page, (16, 24, 4))
    assert coloured(page, references=[number])["job"]["result"]["overruled"] == 0.4


def test_strokes_for_inpaint_hold_no_colours(serve, tmp_path):
    page = serve()
    hint(page, (16, 24, 4))
    page.paint((40, 30, 4))
    page.run()
    page.post("save", strokes=True, mask=True)
    assert [stroke.layer for stroke in read_strokes(tmp_path / "grey_strokes.json").strokes] == ["mask"]
    assert page.ask("save", name="b.png", hints=True).status_code == 200


@pytest.mark.parametrize("strokes", [[], [(-90, 24, 4)]], ids=["nothing", "outside"])
def test_without_colours_it_says_so(serve, strokes):
    page = serve()
    for place in strokes:
        hint(page, place)
    answer = page.ask("colour")
    if strokes:
        found = page.wait()["job"]
        assert found["state"] == "failed" and "outside the picture" in found["error"]
    else:
        assert answer.status_code == 422 and "paint some" in answer.json()["error"]
    assert page.ask("save", hints=True, picture=False).status_code == 422
