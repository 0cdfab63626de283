"""Colour and enlarge on the page of `psal paint`: what is dropped, tried, made and saved."""

import io

import numpy as np
import pytest
from PIL import Image

from psal_cli.image.colour import srgb_profile
from psal_cli.verbs.colorize import api as colorize
from psal_cli.verbs.upscale import api as upscale

from .painting import Page, client, session
from .pictures import pixels_of
from .raw_files import profile

SIZE = (64, 48)  # width, height


@pytest.fixture
def serve(tmp_path):
    """A function that starts a server on a picture in shades of grey; it is closed after the test."""
    begun = []

    def start(**arguments):
        if not (tmp_path / "grey.png").exists():
            ramp = np.linspace(0, 255, SIZE[0]).astype(np.uint8)[None].repeat(SIZE[1], 0)
            Image.fromarray(ramp).save(tmp_path / "grey.png", **arguments)
        for old in begun:
            old.close()
        begun.append(session(tmp_path / "grey.png", states=tmp_path / "state"))
        return Page(client(begun[-1]))

    yield start
    for old in begun:
        old.close()


@pytest.fixture
def reds(monkeypatch):
    """Stands in for the library: all becomes red, as light as it was."""

    def red(image, references, options, **hooks):
        assert references[0].shape[2] == 3 and image.ndim == 2
        made = np.zeros((*image.shape, 3), image.dtype)
        made[..., 0] = image
        return colorize.ColorizeResult(made, None, None)

    monkeypatch.setattr(colorize, "colorize", red)


def dropped(page, array, suffix="png"):
    file = io.BytesIO()
    Image.fromarray(array).save(file, suffix)
    return page.client.post("/api/references", content=file.getvalue())


COLOURS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def done(page):
    found = page.wait()
    assert found["job"]["state"] == "done", found["job"]["error"]
    return found


def first_pixels(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def test_a_grey_picture_gets_colours_and_gives_them_back(serve, reds, tmp_path):
    page = serve()
    before = first_pixels(page.tile())
    number = dropped(page, COLOURS).json()["number"]
    assert page.client.get(f"/api/references/{number}").headers["content-type"] == "image/jpeg"
    page.post("colour", references=[number])
    found = done(page)
    assert found["document"]["steps"][0]["kind"] == "colorize" and found["unsaved"]
    after = first_pixels(page.tile())
    assert (after[:, 50:, 0] - after[:, 50:, 1]).min() > 100
    assert np.abs(first_pixels(page.tile(layer="original")) - before).max() < 3
    page.post("save", name="red.png")
    assert pixels_of(tmp_path / "red.png").shape == (*SIZE[::-1], 3)
    page.paint((20, 20, 4))
    page.post("go", position=0)
    assert np.abs(first_pixels(page.tile()) - before).max() < 3
    page.post("go", position=1)
    assert np.abs(first_pixels(page.tile()) - after).max() < 3


def test_a_grey_profile_becomes_srgb_and_the_original_looks_as_before(serve, reds, tmp_path):
    page = serve(icc_profile=profile("GRAY", gamma=1.0))
    before = first_pixels(page.tile())
    page.post("colour", references=[dropped(page, COLOURS).json()["number"]])
    done(page)
    assert np.abs(first_pixels(page.tile(layer="original")) - before).max() < 3
    page.post("save", name="red.png")
    with Image.open(tmp_path / "red.png") as image:
        assert image.mode == "RGB" and image.info["icc_profile"] == srgb_profile()
    page.post("go", position=0)
    assert np.abs(first_pixels(page.tile()) - before).max() < 3


def test_what_is_painted_waits_until_something_is_removed(serve, reds):
    page = serve()
    page.paint((20, 20, 4))
    page.post("colour", references=[dropped(page, COLOURS).json()["number"]])
    assert [stroke["points"] for stroke in done(page)["document"]["strokes"]] == [[20, 20, 4]]


def test_what_is_removed_after_and_before_colouring_stays_in_order(serve, reds, tmp_path):
    page = serve()
    number = dropped(page, COLOURS).json()["number"]
    page.paint((20, 20, 4))
    page.run()
    page.post("colour", references=[number])
    done(page)
    page.paint((40, 30, 4))
    page.run()
    page.post("save", name="all.png")
    again = serve()  # after a restart
    assert [step["kind"] for step in again.record["document"]["steps"]] == []  # it was saved: nothing is left
    assert pixels_of(tmp_path / "all.png").shape[2] == 3


def test_steps_with_colours_come_back_after_a_crash(serve, reds):
    page = serve()
    number = dropped(page, COLOURS).json()["number"]
    page.post("colour", references=[number])
    done(page)
    page.paint((40, 30, 4))
    page.run()
    shown = first_pixels(page.tile())
    again = serve()
    assert [step["kind"] for step in again.record["document"]["steps"]] == ["colorize", "inpaint"]
    assert np.abs(first_pixels(again.tile()) - shown).max() == 0


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(50)])
def test_what_is_no_picture_is_refused_when_it_is_dropped(serve, content):
    answer = serve().client.post("/api/references", content=content)
    assert answer.status_code == 422 and answer.json()["error"]


@pytest.mark.parametrize("references", [[], [7], "0", None, ["0"]], ids=str)
def test_colours_need_a_reference(serve, references):
    page = serve()
    assert page.ask("colour", references=references).status_code == 422


def test_a_reference_without_colours_is_told_of(serve, quick_colours):
    page = serve()
    number = dropped(page, COLOURS[..., 0]).json()["number"]
    page.post("colour", references=[number])
    job = page.wait()["job"]
    assert job["state"] == "failed" and "colours" in job["error"]


@pytest.fixture
def doubles(monkeypatch):
    """Stands in for the library: repeats each pixel."""

    def double(image, scale, options, **hooks):
        return upscale.UpscaleResult(image.repeat(scale, 0).repeat(scale, 1), None, options.model)

    monkeypatch.setattr(upscale, "upscale", double)


def test_how_colours_are_found_is_passed_on_and_kept_with_the_step(serve, monkeypatch, tmp_path):
    given = []

    def stand_in(image, references, options, **hooks):
        given.append(options)
        return colorize.ColorizeResult(np.stack([image] * 3, 2) if image.ndim == 2 else image, None, None)

    monkeypatch.setattr(colorize, "colorize", stand_in)
    page = serve()
    number = dropped(page, COLOURS).json()["number"]
    for record in (
        {"engine": "psal", "features": "semantic", "seed": 3},
        {"engine": "paper", "attention": "full", "iterations": 2, "strength": 0.5},
        {"engine": "psal", "auto": True},
    ):
        page.post("colour", references=[number], **record)
        done(page)
        assert record == {name: getattr(given[-1], name) for name in record}
    kept = "".join(path.read_text() for path in (tmp_path / "state").rglob("*") if path.suffix in (".json", ".jsonl"))
    assert '"attention": "full"' in kept and '"features": "semantic"' in kept
    for wrong in (
        {"engine": "other"},
        {"attention": 3},
        {"engine": "paper", "features": "semantic"},
        {"iterations": 0},
        {"auto": 1},
    ):
        assert page.ask("colour", references=[number], **wrong).status_code == 422


def test_colours_are_guessed_without_any(serve, monkeypatch):
    given = []

    def stand_in(image, references, options, **hooks):
        given.append((len(references), hooks["hints"], options.auto))
        return colorize.ColorizeResult(np.stack([image] * 3, 2) if image.ndim == 2 else image, None, None)

    monkeypatch.setattr(colorize, "colorize", stand_in)
    page = serve()
    page.post("colour", references=[], auto=True)
    done(page)
    assert given == [(0, None, True)]


def test_local_attention_needs_a_picture_of_the_same_size(serve):
    page = serve()
    number = dropped(page, COLOURS).json()["number"]
    page.post("colour", references=[number], engine="paper", attention="local")
    job = page.wait()["job"]
    assert job["state"] == "failed" and "64x48, the size of the picture" in job["error"]


def test_a_part_is_enlarged_to_be_looked_at(serve, doubles):
    page = serve()
    page.post("preview", scale=3, box=[10, 8, 30, 20])
    found = done(page)["job"]["result"]
    assert found == {"width": 90, "height": 60, "notices": []}
    plain, psal = (first_pixels(page.client.get(f"/api/pictures/0/enlarged/{which}")) for which in (0, 1))
    assert plain.shape == psal.shape == (60, 90, 3) and np.abs(plain - psal).mean() < 9
    assert page.client.get("/api/pictures/0/enlarged/2").status_code == 404
    assert page.get()["document"]["steps"] == []


def test_all_of_it_is_enlarged_into_a_file_and_not_over_another_one(serve, doubles, tmp_path):
    page = serve(dpi=(300, 300))
    page.post("enlarge", scale=2)
    assert done(page)["job"]["result"]["names"] == ["grey_x2.png"]
    small, large = pixels_of(tmp_path / "grey.png"), pixels_of(tmp_path / "grey_x2.png")
    assert np.array_equal(large, small.repeat(2, 0).repeat(2, 1))
    answer = page.ask("enlarge", scale=2)
    assert answer.status_code == 409 and answer.json()["exists"] == ["grey_x2.png"]
    page.post("enlarge", scale=2, overwrite=True)
    done(page)


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("enlarge", {"scale": 17}),
        ("enlarge", {"scale": 1}),
        ("enlarge", {"scale": True}),
        ("enlarge", {"scale": 2, "width": 100}),
        ("enlarge", {"width": 90.5}),
        ("enlarge", {"megapixels": 11}),
        ("enlarge", {"scale": 2, "strength": 1.5}),
        ("enlarge", {"scale": 2, "weights": "../net.pth"}),
        ("preview", {"width": 32, "box": [0, 0, 16, 16]}),
        ("enlarge", {"scale": 2, "model": "magic"}),
        ("enlarge", {"scale": 2, "name": "../x.png"}),
        ("preview", {"scale": 2}),
        ("preview", {"scale": 2, "box": [0, 0, 4, 4]}),
        ("preview", {"scale": 2, "box": [0, 0, 40]}),
        ("preview", {"scale": 2, "box": "all"}),
    ],
    ids=str,
)
def test_nonsense_is_refused(serve, name, record):
    assert serve().ask(name, **record).status_code == 422


@pytest.mark.slow
def test_the_verbs_themselves_are_asked_in_their_own_words(serve, quick_colours, tmp_path):
    page = serve()
    number = dropped(page, COLOURS).json()["number"]
    page.post("colour", references=[number], strength=0.8)
    done(page)
    page.post("preview", scale=2, box=[0, 0, 16, 16])
    found = done(page)["job"]["result"]
    assert (found["width"], found["height"]) == (32, 32)
