"""Sizes and networks on the page of `psal paint`: what is asked of the library, which files a page can name."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from psal_cli.verbs.inpaint.recorded import recorded
from psal_cli.verbs.upscale import api as upscale
from psal_cli.verbs.upscale.sizes import size_wanted

from .foreign_networks import Shuffled, export
from .painting import Page, client, session
from .photos import psal
from .pictures import pixels_of

pytestmark = [  # torch would have everyone leave TorchScript, which is what the files are
    pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:.*TorchScript:UserWarning"),
]
SIZE = (48, 32)  # width, height


class Painter(torch.nn.Module):
    """What LaMa takes and gives."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image * (1 - mask) + mask / 4


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setenv("PSAL_MODELS", str(tmp_path / "models"))
    (tmp_path / "models").mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8)).save(tmp_path / "photo.png")
    served = session(tmp_path / "photo.png", states=tmp_path / "state")
    yield Page(client(served))
    served.close()


@pytest.fixture
def asked(monkeypatch):
    """Stands in for the library; a list of (scale, options) that it was asked for."""
    given = []

    def stand_in(image, scale, options, **hooks):
        given.append((scale, options))
        width, height = size_wanted(image.shape[1::-1], scale, options)
        return upscale.UpscaleResult(np.zeros((height, width, 3), np.uint8), None, options.model)

    monkeypatch.setattr(upscale, "upscale", stand_in)
    return given


def enlarged(page, **record):
    page.post("enlarge", **record)
    found = page.wait()["job"]
    assert found["state"] == "done", found["error"]
    return found["result"]


@pytest.mark.parametrize(
    ("record", "name", "size"),
    [
        ({}, "photo_x2.png", (96, 64)),
        ({"scale": 1.5}, "photo_x1.5.png", (72, 48)),
        ({"width": 100}, "photo_w100.png", (100, 67)),
        ({"height": 100}, "photo_h100.png", (150, 100)),
        ({"width": 100, "height": 60}, "photo_100x60.png", (90, 60)),
        ({"long_side": 120}, "photo_long120.png", (120, 80)),
        ({"megapixels": 0.01}, "photo_0.01mp.png", (122, 82)),
        ({"width": 24}, "photo_w24.png", (24, 16)),
    ],
    ids=str,
)
def test_a_size_is_the_one_that_the_command_makes(page, asked, tmp_path, record, name, size):
    found = enlarged(page, **record)
    assert found["names"] == [name] and (found["width"], found["height"]) == size
    assert pixels_of(tmp_path / name).shape == (*size[::-1], 3)


@pytest.mark.parametrize("record", [{"scale": 2.5}, {"width": 120}, {"long_side": 120}, {"megapixels": 0.0096}], ids=str)
def test_a_part_is_tried_at_the_scale_of_all_of_it(page, asked, record):
    page.post("preview", box=[4, 4, 16, 8], **record)
    found = page.wait()["job"]["result"]
    assert (found["width"], found["height"]) == (40, 20)


@pytest.mark.parametrize("strength", [0, 0.3, 1])
def test_the_strength_is_passed_on_in_place_of_a_model(page, asked, strength):
    enlarged(page, scale=2, strength=strength)
    assert asked[0][1].strength == strength


@pytest.mark.slow
@pytest.mark.subprocess
def test_networks_of_the_model_folder_are_listed_and_run_by_their_names(page, tmp_path):
    assert page.client.get("/api/networks").json() == {"networks": []}
    export(tmp_path / "models/double.onnx", Shuffled(), (1, 3, 32, 32))
    torch.jit.script(Painter()).save(str(tmp_path / "models/lama.pt"))
    (tmp_path / "models/broken.pth").write_bytes(b"no network")
    listed = {each["name"]: each for each in page.client.get("/api/networks").json()["networks"]}
    assert (listed["double.onnx"]["task"], listed["double.onnx"]["scale"]) == ("super-resolution", 2)
    assert listed["lama.pt"]["task"] == "inpainting" and listed["broken.pth"]["problem"]

    found = enlarged(page, weights="double.onnx")
    assert found["names"] == ["photo_upscaled.png"] and (found["width"], found["height"]) == (96, 64)
    made = psal("upscale", tmp_path / "photo.png", "--weights", "double.onnx", "-o", tmp_path / "command.png")
    assert made.exit_code == 0, made.stderr
    assert (tmp_path / "photo_upscaled.png").read_bytes() == (tmp_path / "command.png").read_bytes()

    page.paint((20, 16, 4))
    said = page.run(engine="network", painter="lama.pt")["job"]["result"]["notices"]
    assert any("carries code" in notice for notice in said)
    page.post("save", strokes=True)
    assert json.loads((tmp_path / "photo_strokes.json").read_text())["options"]["painter"] == "lama.pt"
    made = psal("inpaint", tmp_path / "photo.png", "--strokes", tmp_path / "photo_strokes.json", "-o", tmp_path / "again.png")
    assert made.exit_code == 0, made.stderr
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "photo_inpainted.png").read_bytes()
    assert np.abs(pixels_of(tmp_path / "again.png")[16, 20].astype(int) - 64).max() <= 1


@pytest.mark.parametrize("name", ["lama.pt", "./lama.pt", "../lama.pt", "/etc/passwd", "models/other.pt"])
def test_no_record_names_a_file_outside_the_model_folder(page, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    for file in ("lama.pt", "models/other.pt"):
        (tmp_path / file).write_bytes(b"code")
    page.paint((20, 16, 4))
    assert page.ask("run", painter=name).status_code == 422
    assert page.ask("enlarge", weights=name).status_code == 422
    done = psal("inpaint", "photo.png", "--strokes", strokes_with(tmp_path, {"painter": name}), "-o", "out.png")
    assert done.exit_code == 2 and "model folder" in done.stderr


def strokes_with(folder, options):
    stroke = {"tool": "brush", "layer": "mask", "points": [20, 16, 4]}
    record = {"format": "psal strokes 1", "width": SIZE[0], "height": SIZE[1], "options": options, "strokes": [stroke]}
    (folder / "strokes.json").write_text(json.dumps(record))
    return folder / "strokes.json"


@pytest.mark.slow
def test_what_is_typed_beats_a_painter_that_is_gone(page, tmp_path):
    strokes = strokes_with(tmp_path, {"painter": "gone.pt", "engine": "combined"})
    given = ["inpaint", tmp_path / "photo.png", "--strokes", strokes, "--force", "-o", tmp_path / "out.png"]
    assert psal(*given).exit_code == 2
    assert psal(*given, "--engine", "patch").exit_code == 0


def test_the_attention_of_a_run_is_recorded():
    assert recorded({"attention": "aggregation"}).options.attention == "aggregation"
