"""`psal models` and --weights as a shell sees them: what ships, the user's folder, what -v says, memory limits, batches."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import save_file

from psal_cli.foreign.folder import own_folder
from psal_cli.image import read_picture, write_picture
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture
from psal_cli.weights import manifest

from .foreign_networks import architecture, write
from .metadata_blocks import SRGB
from .photos import lines, psal, tree
from .pictures import pixels_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """in.png, noise; models/, the user's folder, with one network."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)).save("in.png")
    Path("models").mkdir()
    monkeypatch.setenv("PSAL_MODELS", str(tmp_path / "models"))
    state = architecture("RealESRGAN Compact").state_dict()
    save_file(state, "models/compact.safetensors", {"modelspec.license": "CC-BY-4.0"})
    return tmp_path


def test_networks_are_listed_with_what_is_known_of_them():
    Path("models/broken.pth").write_text("none")
    done = psal("models", "--json")
    assert done.exit_code == 0
    found = {entry["name"]: entry for entry in lines(done)}
    assert manifest().keys() < found.keys() and found["upscale-x4"]["scale"] == 4 and found["inpaint"]["scale"] is None
    assert found["upscale-x4"]["sha256"] == manifest()["upscale-x4"]["sha256"] and found["upscale-x4"]["licence"] == "MIT"
    own = found["compact.safetensors"]
    assert (own["scale"], own["architecture"], own["licence"]) == (4, "RealESRGAN Compact", "CC-BY-4.0")
    assert own["sha256"] == hashlib.sha256(Path("models/compact.safetensors").read_bytes()).hexdigest()
    assert own["parameters"] == sum(x.numel() for x in architecture("RealESRGAN Compact").parameters())
    assert "is damaged" in found["broken.pth"]["problem"]
    said = psal("models")
    assert "CC-BY-4.0" in said.stdout and str(Path("models").absolute()) in said.stderr and str(own_folder()) in said.stderr


def test_a_name_finds_a_file_of_the_folder():
    for number, name in enumerate(("compact", "compact.safetensors", "models/compact.safetensors")):
        assert psal("upscale", "in.png", "--weights", name, "-o", f"{number}.png").exit_code == 0
    assert pixels_of("0.png").shape == (160, 240, 3)
    assert len({Path(f"{number}.png").read_bytes() for number in range(3)}) == 1
    done = psal("upscale", "in.png", "--weights", "compcat", "-o", "out.png")
    assert done.exit_code == 2 and done.stderr.count("\n") == 1 and "`psal models` lists what there is" in done.stderr


@pytest.mark.slow
def test_verbose_tells_architecture_and_licence():
    done = psal("upscale", "in.png", "--weights", "compact", "-v")
    assert done.exit_code == 0 and Path("in_upscaled.png").exists()
    assert "compact: RealESRGAN Compact x4, 8nf, 3nc, 5512 parameters, licence CC-BY-4.0; looks " in done.stderr
    write("plain.pth", "SPAN")
    assert "the file states no licence" in psal("upscale", "in.png", "--weights", "plain.pth", "-v", "-o", "out.png").stderr


def test_sixteen_bits_alpha_profile_and_batches_are_as_with_own_networks():
    pixels = np.random.default_rng(1).integers(0, 65536, (40, 60, 3), np.uint16)
    alpha = np.full((40, 60), 65535, np.uint16)
    alpha[:, :20] = 0
    Path("all/deep").mkdir(parents=True)
    write_picture(Picture(pixels, alpha, Metadata(icc=SRGB)), "all/deep/a.png")
    assert psal("upscale", "all", "-r", "--weights", "compact", "-o", "out").exit_code == 0
    out = read_picture("out/deep/a.png")
    assert out.pixels.dtype == np.uint16 and out.pixels.shape == (160, 240, 3) and out.metadata.icc == SRGB
    assert out.alpha is not None and not out.alpha[:, :64].any() and (out.alpha[:, 96:] == 65535).all()
    assert (out.pixels % 257 != 0).mean() > 0.5
    assert psal("upscale", "all", "-r", "--weights", "compact", "-o", "out", "--skip-existing").exit_code == 3


@pytest.mark.slow
def test_a_limit_makes_pieces_and_the_result_is_the_same():
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 400, 3), np.uint8)).save("large.png")
    needed = [line["memory_bytes"] for line in lines(psal("upscale", "large.png", "--weights", "compact", "--dry-run", "--json"))]
    limit = int(needed[0] * 0.93)
    done = psal("upscale", "large.png", "--weights", "compact", "-o", "limited.png", "--max-memory", limit, "-v")
    assert done.exit_code == 0 and "524288 pixels at a time" not in done.stderr, done.stderr
    assert psal("upscale", "large.png", "--weights", "compact", "-o", "free.png").exit_code == 0
    np.testing.assert_array_equal(pixels_of("limited.png"), pixels_of("free.png"))
    done = psal("upscale", "large.png", "--weights", "compact", "-o", "none.png", "--max-memory", "100M")
    assert done.exit_code == 4 and "allow more with --max-memory" in done.stderr


@pytest.mark.slow
def test_pieces_that_show_are_said():
    write("rcan.pth", "RCAN")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (200, 300, 3), np.uint8)).save("large.png")
    limit = lines(psal("upscale", "large.png", "--weights", "rcan.pth", "--dry-run", "--json"))[0]["memory_bytes"]
    done = psal("upscale", "large.png", "--weights", "rcan.pth", "-o", "tiles.png", "--max-memory", int(limit * 0.95))
    assert done.exit_code == 0 and "rcan.pth looks at the whole picture" in done.stderr and "overlapping tiles of" in done.stderr
    whole = psal("upscale", "large.png", "--weights", "rcan.pth", "-o", "whole.png")
    assert "tiles" not in whole.stderr
    assert np.abs(pixels_of("tiles.png").astype(int) - pixels_of("whole.png")).max() < 8


def test_refusals_leave_nothing_behind():
    before = tree(".")
    for arguments, words in (
        (["-x", "3", "--weights", "compact"], "--scale is 3, expected 4 or 16, by which compact enlarges"),
        (["--weights", "compact", "--max-pixels", "10k"], "the result would have 240x160 pixels, more than allowed"),
        (["--weights", "compact", "--attention", "full"], "--attention is of psal's own networks"),
        (["--weights", "compact", "--save-offsets", "f.png"], "compact has no attention, there are no offsets to write"),
        (["--weights", "in.png"], "expected .safetensors, .pt or .pth"),
    ):
        done = psal("upscale", "in.png", *arguments, "-o", "out.png")
        assert done.exit_code == 2 and done.stderr.count("\n") == 1 and words in done.stderr, done.stderr
    assert tree(".") == before
