"""What the server of `psal paint` does for its page: strokes, runs, steps, saving, coming back."""

import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

from psal_cli import memory
from psal_cli.errors import CancelledError
from psal_cli.image import read_picture, write_picture
from psal_cli.image.painting import region
from psal_cli.image.picture import Picture
from psal_cli.image.strokes import Brush, read_strokes

from .painting import Page, client, session
from .photos import psal
from .pictures import pixels_of

SIZE = (96, 64)  # width, height
DOT = (48, 30, 6)


@pytest.fixture
def photo(tmp_path):
    rows, columns = np.indices(SIZE[::-1])
    pixels = np.stack([rows % 8 * 30, columns % 8 * 30, (rows + columns) % 8 * 30], 2).astype(np.uint8)
    pixels[mask_of(DOT, (20, 20, 3))] = (0, 0, 255)
    Image.fromarray(pixels).save(tmp_path / "photo.png", dpi=(300, 300))
    return tmp_path / "photo.png"


@pytest.fixture
def serve(tmp_path):
    """A function that starts a server on pictures, with one state folder for all; those before it come to their end."""
    begun = []

    def start(*paths, **more):
        for old in begun:
            old.close()
        begun.append(session(*paths, states=tmp_path / "state", **more))
        return client(begun[-1])

    yield start
    for old in begun:
        old.close()


@pytest.fixture
def page(serve, photo):
    return Page(serve(photo))


def mask_of(*dots):
    return region([Brush("mask", (dot,)) for dot in dots], "mask", SIZE)


def shown(answer):
    return np.asarray(Image.open(io.BytesIO(answer.content)).convert("RGB")).astype(int)


def far(first, second):
    return np.abs(shown(first) - shown(second)).max()


def test_a_run_changes_what_is_painted_and_nothing_else(page, photo, tmp_path):
    before = np.asarray(Image.open(photo))
    original = page.tile()
    page.paint(DOT)
    found = page.run(seed=3)
    left, top, width, height = found["job"]["result"]["changed"][0]
    rows, columns = np.nonzero(mask_of(DOT))
    assert (left, top, width, height) == (columns.min(), rows.min(), np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert found["document"]["strokes"] == [] and found["document"]["position"] == 1 and found["unsaved"]
    page.post("save")
    after = np.asarray(Image.open(tmp_path / "photo_inpainted.png"))
    assert (after[~mask_of(DOT)] == before[~mask_of(DOT)]).all()
    assert far(page.tile(layer="original"), original) == 0


@pytest.mark.slow
def test_the_saved_strokes_give_the_same_file_by_command(page, photo, tmp_path, monkeypatch):
    page.paint(DOT)
    page.paint((20, 40, 3), (30, 44, 5.5))
    page.post("strokes", at=2, strokes=[{"tool": "grow", "layer": "mask", "pixels": 2}])
    page.paint((70, 30, 20), layer="source")
    page.run(seed=5, feather=2, results=2)
    page.post("choose", variant=1)
    page.post("save", mask=True, strokes=True)
    done = psal("inpaint", photo, "--strokes", tmp_path / "photo_strokes.json", "-o", tmp_path / "again.png")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "photo_inpainted.png").read_bytes()
    mask = np.asarray(Image.open(tmp_path / "photo_mask.png"))
    assert mask.shape == SIZE[::-1] and set(np.unique(mask)) > {0, 255}  # the soft edge too


def test_strokes_are_undone_and_redone(page):
    page.paint(DOT)
    page.paint((20, 20, 4))
    page.post("move", at=1)
    assert rows_of(page, "mask", 1) == mask_of(DOT).sum()
    page.post("move", at=2)
    assert page.get()["document"]["at"] == 2
    page.post("move", at=0)
    page.paint((70, 20, 4), at=0)  # what was undone is forgotten
    assert [stroke["points"] for stroke in page.get()["document"]["strokes"]] == [[70, 20, 4]]


def rows_of(page, layer, at):
    numbers = page.post("outline", layer=layer, at=at)["rectangles"]
    return sum(width * height for width, height in zip(numbers[2::4], numbers[3::4], strict=True))


def test_going_back_brings_the_strokes_and_the_pixels_back(page):
    original = page.tile()
    page.paint(DOT)
    page.run()
    first = page.tile()
    page.paint((20, 20, 4))
    page.run()
    second = page.tile()
    assert far(first, original) > 9 and far(second, first) > 9
    found = page.post("go", position=1)
    assert [stroke["points"] for stroke in found["document"]["strokes"]] == [[20, 20, 4]] and far(page.tile(), first) == 0
    found = page.post("go", position=0)
    assert len(found["changed"]) == 1 and far(page.tile(), original) == 0
    page.post("go", position=2)
    assert far(page.tile(), second) == 0
    assert far(page.tile(layer="original"), original) == 0


def test_painting_after_going_back_forgets_the_steps_that_came_after(page, tmp_path):
    page.paint(DOT)
    page.run()
    page.post("go", position=0)
    page.post("move", at=0)
    page.post("go", position=1)  # what was undone there is in the step all the same
    page.post("save", strokes=True)
    assert len(read_strokes(tmp_path / "photo_strokes.json").strokes) == 1
    page.post("go", position=0)
    found = page.paint((20, 20, 4))
    assert found["count"] == 0 and page.ask("go", position=1).status_code == 422


def test_several_results_are_made_of_the_same_strokes_and_one_is_chosen(page):
    page.paint(DOT)
    page.run(results=2, seed=7)
    first = page.tile()
    page.post("run", engine="patch", iterations=1, seed=9, again=True)
    found = page.wait()
    step = found["document"]["steps"][0]
    assert [seed for seed, _ in step["variants"]] == [7, 8, 9] and step["chosen"] == 2
    page.post("choose", variant=0)
    assert far(page.tile(), first) == 0
    previews = [page.client.get(f"/api/pictures/0/results/{number}") for number in range(4)]
    assert [answer.status_code for answer in previews] == [200, 200, 200, 404]
    page.post("save")
    assert not page.get()["unsaved"]


def test_a_result_among_several_is_what_one_run_with_its_seed_gives(page, serve, photo, tmp_path):
    page.paint(DOT)
    page.run(results=3, seed=1)
    page.post("choose", variant=2)
    page.post("save", name="third.png")
    page.post("go", position=0)
    page.run(seed=3)
    page.post("save", name="alone.png")
    assert (tmp_path / "third.png").read_bytes() == (tmp_path / "alone.png").read_bytes()


def test_a_crash_loses_nothing(page, serve, photo, tmp_path):
    page.paint(DOT)
    page.run()
    shown_before = page.tile()
    page.paint((20, 20, 4))
    page.paint((30, 20, 4))
    page.post("move", at=1)
    before = page.get()["document"]
    journal = next((tmp_path / "state").rglob("journal.jsonl"))
    content = journal.read_bytes()
    again = Page(serve(photo))  # a regular end
    assert again.get()["document"] == before and far(again.tile(), shown_before) == 0
    again.client = None
    journal.write_bytes(content + b'{"do": "add", "at"')  # the power was cut in the middle of a line
    again = Page(serve(photo))
    assert again.get()["document"] == before
    again.paint((5, 5, 2))
    third = Page(serve(photo))
    assert [stroke["points"] for stroke in third.get()["document"]["strokes"]] == [[20, 20, 4], [5, 5, 2]]


def test_what_a_crash_left_half_is_not_used(page, serve, photo, tmp_path):
    original = page.tile()
    page.paint(DOT)
    page.run()
    next((tmp_path / "state").rglob("*.npz")).write_bytes(b"PK")
    again = Page(serve(photo))
    assert again.get()["document"]["steps"] == [] and far(again.tile(), original) == 0
    again.paint(DOT)
    again.run()


def test_what_was_saved_leaves_no_state(page, serve, photo, tmp_path):
    page.paint(DOT)
    page.run()
    page.post("save")
    again = Page(serve(photo))
    assert again.get()["document"]["steps"] == []


def test_another_content_of_the_file_is_another_picture(page, serve, photo):
    page.paint(DOT)
    Image.fromarray(np.zeros((*SIZE[::-1], 3), np.uint8)).save(photo)
    assert Page(serve(photo)).get()["document"]["strokes"] == []


def test_two_tabs_do_not_undo_each_other(page):
    other = Page(page.client)
    page.paint(DOT)
    answer = other.ask("strokes", at=0, strokes=[])
    assert answer.status_code == 409 and answer.json()["stale"]
    assert other.ask("go", position=0).json()["stale"] and other.ask("run", engine="patch").json()["stale"]
    other.open()
    other.paint((20, 20, 4))
    assert len(page.get()["document"]["strokes"]) == 2


@pytest.fixture
def endless(monkeypatch):
    """Runs take until they are cancelled, or until the event that this is is set."""
    from psal_cli.verbs.inpaint import api

    work, go_on = api.inpaint, threading.Event()

    def wait(*args, progress, cancel, **more):
        while not go_on.wait(0.01):
            progress(0.5, "level 2 of 4")
            if cancel():
                raise CancelledError
        return work(*args, **more)

    monkeypatch.setattr(api, "inpaint", wait)
    return go_on


def test_one_job_at_a_time(page, endless):
    page.paint(DOT)
    page.post("run", engine="patch")
    for name, record in (("run", {"engine": "patch"}), ("go", {"position": 0}), ("save", {})):
        answer = page.ask(name, **record)
        assert answer.status_code == 409 and not answer.json().get("stale"), name
    page.post("cancel")
    found = page.wait()
    assert found["job"]["state"] == "cancelled" and found["document"]["position"] == 0
    assert len(found["document"]["strokes"]) == 1


def test_what_is_painted_during_a_run_waits_for_the_next(page, endless):
    page.paint(DOT)
    page.post("run", engine="patch")
    page.paint((20, 20, 4))
    endless.set()
    document = page.wait()["document"]
    assert [stroke["points"] for stroke in document["strokes"]] == [[20, 20, 4]]
    document = page.post("go", position=0)["document"]
    assert [stroke["points"] for stroke in document["strokes"]] == [list(DOT)]


def test_nothing_is_overwritten_unasked(page, tmp_path):
    (tmp_path / "photo_inpainted.png").write_bytes(b"mine")
    page.paint(DOT)
    page.run()
    answer = page.ask("save", strokes=True)
    assert answer.status_code == 409 and answer.json()["exists"] == ["photo_inpainted.png"]
    assert (tmp_path / "photo_inpainted.png").read_bytes() == b"mine" and not (tmp_path / "photo_strokes.json").exists()
    page.post("save", strokes=True, overwrite=True)
    assert pixels_of(tmp_path / "photo_inpainted.png").shape[:2] == SIZE[::-1]


@pytest.mark.parametrize(
    "name",
    [
        "../out.png",
        "/tmp/out.png",
        "a/b.png",
        "..",
        ".png",
        ".hidden.png",
        "a\\b.png",
        "",
        "out",
        "a\0.png",
        "x" * 300 + ".png",
        3,
    ],
)
def test_a_name_is_no_path(page, name):
    page.paint(DOT)
    page.run()
    assert page.ask("save", name=name).status_code == 422


def test_results_go_to_another_folder_where_one_is_named(serve, photo, tmp_path):
    page = Page(serve(photo.parent, output=str(tmp_path / "new/out")))
    page.paint(DOT)
    page.run()
    page.post("save", mask=True)
    assert sorted(path.name for path in (tmp_path / "new/out").iterdir()) == ["photo.png", "photo_mask.png"]
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["photo.png"]


def test_what_a_format_cannot_hold_is_said(serve, tmp_path):
    deep = np.linspace(0, 65535, SIZE[0] * SIZE[1]).astype(np.uint16).reshape(SIZE[::-1])
    Image.fromarray(deep).save(tmp_path / "deep.png")
    page = Page(serve(tmp_path / "deep.png"))
    page.paint(DOT)
    page.run()
    assert "16" in page.post("save", name="small.jpg", quality=90)["notices"][0]
    page.post("save", name="deep2.tif")
    kept = read_picture(tmp_path / "deep2.tif").pixels[..., 0]
    assert kept.dtype == np.uint16 and (kept[~mask_of(DOT)] == deep[~mask_of(DOT)]).all()


def test_floats_are_painted_on_and_saved(serve, tmp_path):
    shares = np.linspace(0, 3, SIZE[0] * SIZE[1], dtype=np.float32).reshape(SIZE[::-1])
    write_picture(Picture(shares[..., None]), tmp_path / "light.tif")
    page = Page(serve(tmp_path / "light.tif"))
    page.paint(DOT)
    page.run()
    assert page.tile().status_code == 200
    page.post("save")
    kept = read_picture(tmp_path / "light_inpainted.tif").pixels[..., 0]
    assert kept.dtype == np.float32 and (kept[~mask_of(DOT)] == shares[~mask_of(DOT)]).all() and kept.max() == 3


def test_metadata_and_transparency_are_kept(serve, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 4), np.uint8)
    exif = Image.Exif()
    exif[0x010E] = "a wall"
    Image.fromarray(pixels).save(tmp_path / "wall.png", exif=exif, dpi=(300, 300))
    page = Page(serve(tmp_path / "wall.png"))
    page.paint(DOT)
    page.run()
    page.post("save")
    after = Image.open(tmp_path / "wall_inpainted.png")
    assert after.getexif()[0x010E] == "a wall" and round(after.info["dpi"][0]) == 300
    assert (np.asarray(after)[..., 3] == pixels[..., 3]).all()


@pytest.mark.slow
def test_a_flood_of_strokes_is_taken_in_order(page):
    for number in range(100):
        page.paint((number % 90, 20, 2), at=number)
    assert [stroke["points"][0] for stroke in page.get()["document"]["strokes"]] == [number % 90 for number in range(100)]
    dot = {"tool": "brush", "layer": "mask", "points": [1, 1, 1]}
    page.post("strokes", at=100, strokes=[dot] * 9900)
    answer = page.ask("strokes", at=10_000, strokes=[dot])
    assert answer.status_code == 422 and "at most 10000" in answer.json()["error"]


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("strokes", {"at": 0, "strokes": [{"tool": "hammer"}]}),
        ("strokes", {"at": 0, "strokes": "all"}),
        ("strokes", {"at": 1, "strokes": []}),
        ("strokes", {"at": "0", "strokes": []}),
        ("move", {"at": 2}),
        ("move", {"at": -1}),
        ("go", {"position": 1}),
        ("choose", {"variant": 0}),
        ("outline", {"layer": "sky", "at": 0}),
        ("run", {}),
        ("run", {"again": True}),
        ("save", {"picture": False}),
    ],
    ids=str,
)
def test_nonsense_is_refused_in_words(page, name, record):
    answer = page.ask(name, **record)
    assert answer.status_code == 422 and answer.json()["error"]
    assert page.get()["revision"] == 0


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"[" * 500_000, b'{"at": ' + b"9" * 5000 + b"}", b"\xff"], ids=len)
def test_a_body_that_is_none_is_refused(page, body):
    answer = page.client.post("/api/pictures/0/strokes", content=body)
    assert answer.status_code == 422 and answer.json()["error"]


@pytest.mark.parametrize(
    "options",
    [
        {"engine": "magic"},
        {"seed": -1},
        {"seed": 1.5},
        {"patch_size": 4},
        {"feather": -1},
        {"results": 7},
        {"results": True},
        {"blend": 1},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused(page, options):
    page.paint(DOT)
    assert page.ask("run", **options).status_code == 422


def test_a_picture_that_does_not_fit_into_memory_is_refused_before_it_is_decoded(serve, photo, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 1000)
    monkeypatch.setattr("psal_cli.paint.opened.read_picture", None)
    answer = serve(photo).get("/api/pictures/0")
    assert answer.status_code == 507 and "memory" in answer.json()["error"]


def test_pictures_of_a_folder_are_opened_by_number_and_one_that_fails_harms_no_other(serve, photo, tmp_path):
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(100))
    Image.new("RGB", (20, 10)).save(tmp_path / "small.jpg")
    asked = serve(tmp_path)
    assert asked.get("/api/pictures").json()["names"] == ["broken.png", "photo.png", "small.jpg"]
    assert asked.get("/api/pictures/0").status_code == 422
    assert asked.get("/api/pictures/2").json()["width"] == 20
    page = Page(asked, 1)
    page.paint(DOT)
    Page(asked, 2)
    asked.get("/api/pictures/0")
    assert len(page.get()["document"]["strokes"]) == 1


def test_a_second_server_does_not_write_into_the_state_of_the_first(page, photo, tmp_path):
    page.paint(DOT)
    other = session(photo, states=tmp_path / "state")
    answer = client(other).get("/api/pictures/0")
    assert answer.status_code == 422 and "open in another psal paint" in answer.json()["error"]
    other.close()


def test_tiles_show_the_picture_at_every_size(serve, tmp_path):
    ramp = np.linspace(0, 255, 1300).astype(np.uint8)[None, :, None].repeat(700, 0).repeat(3, 2)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    page = Page(serve(tmp_path / "ramp.png"))
    levels = page.record["levels"]
    assert levels == 2
    for level in range(levels + 1):
        width, height = -(-1300 >> level), -(-700 >> level)
        whole = np.concatenate([shown(page.tile(level, column)) for column in range(-(-width // 512))], 1)
        assert whole.shape[1] == width and whole.shape[0] == min(height, 512)
        assert np.abs(whole[0, :, 0] - np.linspace(0, 255, width)).max() < 4
    for place in ((3, 0, 0), (0, 3, 0), (0, 0, 2), (2, 1, 0)):
        assert page.tile(*place).status_code == 404


def test_without_the_packages_the_cure_is_said(monkeypatch, photo):
    monkeypatch.setitem(__import__("sys").modules, "uvicorn", None)
    done = psal("paint", photo)
    assert done.exit_code == 2 and done.stderr == "psal: psal paint needs packages of its own: pip install 'psal[paint]'\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--listen", "0.0.0.0"], "--listen requires --token"),
        (["--token", "short"], "--token takes 16"),
        (["--port", "70000"], "--port"),
        (["-"], "- is stdin"),
    ],
)
def test_what_cannot_be_served_is_refused(photo, options, said):
    done = psal("paint", photo, *options)
    assert done.exit_code == 2 and said in done.stderr


def test_other_machines_are_let_in_with_a_warning_only(photo, monkeypatch):
    asked = []
    monkeypatch.setattr("psal_cli.paint.server.serve", lambda items, **options: asked.append((items, options)))
    done = psal("paint", photo, "--listen", "0.0.0.0", "--token", "a" * 16)
    assert done.exit_code == 0 and "whoever knows the token" in done.stderr and "not encrypted" in done.stderr
    done = psal("paint", photo, "--no-browser", "--port", 8123)
    (_, first), (items, second) = asked
    assert done.stderr == "" and [item.output.name for item in items] == ["photo_inpainted.png"]
    assert (first["address"], first["token"], first["browser"]) == ("0.0.0.0", "a" * 16, True)
    assert (second["address"], second["port"], second["browser"]) == ("127.0.0.1", 8123, False)
    assert len(second["token"]) >= 32


def test_masks_that_were_saved_are_no_pictures_of_the_folder(photo, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("psal_cli.paint.server.serve", lambda items, **options: asked.extend(items))
    for name in ("photo_mask.png", "photo_mask_2.png", "photo_inpainted.png", "other_mask.png"):
        Image.new("L", SIZE).save(tmp_path / name)
    assert psal("paint", tmp_path).exit_code == 0
    assert [item.input.name for item in asked] == ["other_mask.png", "photo.png"]


def test_typed_options_beat_those_saved_with_strokes(tmp_path, photo, monkeypatch):
    from psal_cli.verbs.inpaint import api

    stroke = {"tool": "brush", "layer": "mask", "points": list(DOT)}
    head = {"format": "psal strokes 1", "width": SIZE[0], "height": SIZE[1], "strokes": [stroke]}
    (tmp_path / "s.json").write_text(json.dumps(head | {"options": {"engine": "patch", "seed": 4, "patch_size": 5}}))
    calls, work = [], api.inpaint
    monkeypatch.setattr(api, "inpaint", lambda *args, **more: calls.append(args[2]) or work(*args, **more))
    done = psal("inpaint", photo, "--strokes", tmp_path / "s.json", "--seed", 9, "-o", tmp_path / "o.png", "--jobs", 2)
    assert done.exit_code == 0, done.stderr
    assert (calls[0].engine, calls[0].seed, calls[0].patch_size) == ("patch", 9, 5)
