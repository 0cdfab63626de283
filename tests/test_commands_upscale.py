"""`psal upscale` as a shell sees it: what goes in and comes out, options, refusals."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from psal_cli.image import read_picture, write_picture
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture
from psal_cli.image.resizing import resized
from psal_cli.networks.csnln import CSNLN
from psal_cli.verbs.upscale import api, memory_model
from psal_cli.verbs.upscale.networks import networks_for
from psal_cli.verbs.upscale.upscaler import Upscaler

from .metadata_blocks import SRGB, exif_block
from .photos import lines, psal, tree
from .pictures import pixels_of

SIZE = (24, 32)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, pair):
    """in.png: a piece of a photograph."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray((pair(128)[0][0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)[: SIZE[0], : SIZE[1]]).save(
        "in.png"
    )
    return tmp_path


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_result_is_exactly_so_many_times_larger(scale):
    done = psal("upscale", "in.png", "-x", scale)
    assert done.exit_code == 0, done.stderr
    out = pixels_of(f"in_x{scale}.png")
    assert out.shape == (SIZE[0] * scale, SIZE[1] * scale, 3)
    np.testing.assert_array_equal(out, Upscaler(networks_for(scale, "clean"))(pixels_of("in.png"))[0])
    reduced = np.asarray(Image.fromarray(out).reduce(scale)).astype(int)
    assert np.abs(reduced - pixels_of("in.png")).mean() < 4  # it is the same picture


@pytest.mark.parametrize("kind", ["L", "LA", "RGBA", "L16", "RGB16", "RGB16A"])
def test_grey_alpha_and_sixteen_bits_stay(kind):
    source = pixels_of("in.png")
    pixels = source.mean(2, keepdims=True).astype(np.uint8) if kind.startswith("L") else source
    alpha = np.linspace(0, 255, source[..., 0].size).reshape(source.shape[:2]).astype(np.uint8)
    if "16" in kind:
        pixels, alpha = (x.astype(np.uint16) * 257 for x in (pixels, alpha))
    write_picture(Picture(pixels, alpha if kind.endswith("A") else None), "deep.png")
    done = psal("upscale", "deep.png", "-x", 2, "-o", "out.png")
    assert done.exit_code == 0, done.stderr
    out = read_picture("out.png")
    assert out.pixels.shape == (2 * SIZE[0], 2 * SIZE[1], pixels.shape[2]) and out.pixels.dtype == pixels.dtype
    assert (out.alpha is not None) == kind.endswith("A")
    if out.alpha is not None:
        assert out.alpha.shape == out.pixels.shape[:2]
        coarse = out.alpha.reshape(SIZE[0], 2, SIZE[1], 2).mean((1, 3))
        assert np.abs(coarse - alpha).max() < 0.03 * out.white
    if "16" in kind:
        assert (out.pixels % 257 != 0).mean() > 0.5  # more than eight bits


def test_metadata_stay_and_tell_the_new_size():
    xmp = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description tiff:ImageWidth="32" exif:PixelYDimension="24"/></x:xmpmeta>'
    metadata = Metadata(icc=SRGB, exif=exif_block(), xmp=xmp, dpi=(300, 300))
    write_picture(Picture(pixels_of("in.png"), metadata=metadata), "in.jpg")
    done = psal("upscale", "in.jpg", "-x", 4, "-o", "out.jpg")
    assert done.exit_code == 0, done.stderr
    out = read_picture("out.jpg").metadata
    assert out.icc == SRGB and out.dpi == (300, 300)
    with Image.open("out.jpg") as image:
        tags = image.getexif()
        sizes = tags.get_ifd(0x8769)
        assert (sizes[0xA002], sizes[0xA003]) == (128, 96) and tags[0x010F] == "psal-cam"
    assert b'tiff:ImageWidth="128"' in out.xmp and b'exif:PixelYDimension="96"' in out.xmp


def test_metadata_without_a_size_stay_as_they_are():
    metadata = Metadata(icc=SRGB, xmp=b"<x:xmpmeta dc:title='32'/>", texts=((b"tEXt", b"Title\x00in"),))
    assert resized(metadata, (64, 48)) == metadata


def test_a_picture_lies_as_its_orientation_says():
    tag = Image.Exif()
    tag[0x0112] = 6
    Image.open("in.png").transpose(Image.Transpose.ROTATE_90).save("turned.png", exif=tag)
    assert psal("upscale", "turned.png", "-x", 2, "-o", "out.png").exit_code == 0
    assert psal("upscale", "in.png", "-x", 2, "-o", "upright.png").exit_code == 0
    np.testing.assert_array_equal(pixels_of("out.png"), pixels_of("upright.png"))


def test_lossy_pictures_take_the_model_for_photographs():
    Image.open("in.png").save("in.jpg", quality=60)
    Image.open("in.jpg").save("same.png")
    results = {}
    for name, options in (("in.jpg", []), ("same.png", []), ("in.jpg", ["--model", "clean"]), ("same.png", ["--model", "photo"])):
        done = psal("upscale", name, "-x", 2, "-o", "out.png", "--force", "--json", *options)
        assert done.exit_code == 0, done.stderr
        (record,) = lines(done)
        results[name, *options] = record["model"], pixels_of("out.png").tobytes()
        assert record["scale"] == 2 and "engine" not in record
    assert results["in.jpg",] == results["same.png", "--model", "photo"] and results["in.jpg",][0] == "photo"
    assert results["same.png",] == results["in.jpg", "--model", "clean"] and results["same.png",][0] == "clean"
    assert results["in.jpg",][1] != results["same.png",][1]


def test_comparison_shows_the_cubic_enlargement_and_the_result():
    done = psal("upscale", "in.png", "-x", 4, "-o", "out.png", "--compare", "sheet.png")
    assert done.exit_code == 0, done.stderr
    sheet, out = pixels_of("sheet.png"), pixels_of("out.png")
    assert sheet.shape == (out.shape[0], 2 * out.shape[1] + 8, 3)
    np.testing.assert_array_equal(sheet[:, -out.shape[1] :], out)
    plain = sheet[:, : out.shape[1]].astype(int)
    assert 0.5 < np.abs(plain - out).mean() < 12


@pytest.mark.slow
def test_comparison_of_a_large_picture_is_its_middle():
    Image.open("in.png").resize((700, 40)).save("wide.png")
    assert psal("upscale", "wide.png", "-x", 2, "-o", "out.png", "--compare", "sheet.png").exit_code == 0
    sheet, out = pixels_of("sheet.png"), pixels_of("out.png")
    assert sheet.shape == (80, 2408, 3)
    np.testing.assert_array_equal(sheet[:, -1200:], out[:, 100:1300])


@pytest.mark.slow
def test_options_reach_the_library(monkeypatch):
    seen = {}

    class Listening(Upscaler):
        def __init__(self, networks, device, **options):
            seen.update(options, device=device)
            super().__init__(networks, device, **options)

    monkeypatch.setattr(api, "Upscaler", Listening)
    monkeypatch.setattr(memory_model, "CHOICES", (4096,))
    done = psal("upscale", "in.png", "-x", 2, "-o", "o.png", "--seed", 7, "--ensemble", "--attention", "full", "--device", "cpu")
    assert done.exit_code == 0, done.stderr
    assert (seen["seed"], seen["ensemble"], seen["device"]) == (7, True, "cpu")
    assert seen["largest"] == 4096
    plain = Upscaler(networks_for(2, "clean", None, "full"), seed=7, ensemble=True)
    np.testing.assert_array_equal(pixels_of("o.png"), plain(pixels_of("in.png"))[0])


def test_a_pipe_in_and_out():
    done = psal("upscale", "-", "-x", 2, "-o", "-", "--format", "png", stdin=Path("in.png").read_bytes())
    assert done.exit_code == 0, done.stderr
    assert psal("upscale", "in.png", "-x", 2, "-o", "out.png").exit_code == 0
    np.testing.assert_array_equal(Image.open(BytesIO(done.stdout_bytes)), pixels_of("out.png"))


def test_a_folder_keeps_its_tree_and_results_are_not_enlarged_again():
    Path("all/deep").mkdir(parents=True)
    Image.open("in.png").save("all/deep/a.png")
    assert psal("upscale", "all", "-r", "-x", 2).exit_code == 0
    done = psal("upscale", "all", "-r", "-x", 2, "--skip-existing")
    assert tree("all").keys() == {"deep/a.png", "deep/a_x2.png"} and done.exit_code == 3
    Path("all/deep/a_x2.png").rename("a_x2.png")
    assert psal("upscale", "all", "-r", "-x", 2, "-o", "out").exit_code == 0
    assert tree("out") == {"deep/a.png": Path("a_x2.png").read_bytes()}


@pytest.mark.slow
def test_strength_leads_from_the_clean_model_to_that_for_photographs():
    Image.open("in.png").convert("RGBA").save("in.png")
    made = {}
    for name, *options in (
        ("clean", "--model", "clean"),
        ("photo", "--model", "photo"),
        ("none", "--strength", 0),
        ("half", "--strength", 0.5, "-v"),
        ("all", "--strength", 1),
    ):
        done = psal("upscale", "in.png", "-x", 2, "-o", f"{name}.png", "--json", *options)
        assert done.exit_code == 0, done.stderr
        made[name] = pixels_of(f"{name}.png").astype(int), lines(done)[0], done.stderr
    np.testing.assert_array_equal(made["none"][0], made["clean"][0])
    np.testing.assert_array_equal(made["all"][0], made["photo"][0])
    mean = (made["clean"][0] + made["photo"][0]) / 2
    assert np.abs(mean - made["half"][0]).max() <= 0.5 and np.abs(mean - made["clean"][0]).max() > 1
    said = [(made[name][1]["model"], made[name][1].get("strength")) for name in made]
    assert said == [("clean", None), ("photo", None), ("clean", 0), ("blend", 0.5), ("photo", 1)]
    assert "model clean and photo, strength 0.5" in made["half"][2]


def test_a_default_strength_gives_way_to_what_was_typed(monkeypatch):
    save_file(CSNLN(2, 8, 2).state_dict(), "own.safetensors")
    for options, model in ((["--model", "clean"], "clean"), (["--weights", "own.safetensors"], None)):
        monkeypatch.setenv("PSAL_UPSCALE_STRENGTH", "1")
        (record,) = lines(psal("upscale", "in.png", "-x", 2, "-o", "out.png", "--force", "--json", *options))
        assert record["model"] == model and "strength" not in record
    monkeypatch.delenv("PSAL_UPSCALE_STRENGTH")
    monkeypatch.setenv("PSAL_UPSCALE_WEIGHTS", "own.safetensors")
    monkeypatch.setenv("PSAL_UPSCALE_MODEL", "clean")
    (record,) = lines(psal("upscale", "in.png", "-x", 2, "-o", "out.png", "--force", "--json", "--strength", 1))
    assert (record["model"], record["strength"]) == ("photo", 1)


def test_a_blend_is_expected_to_take_twice_the_time():
    Image.open("in.png").resize((320, 240)).save("in.png")
    records = [
        lines(psal("upscale", "in.png", "-x", 4, "--dry-run", "--json", "--strength", strength))[0] for strength in (1, 0.5)
    ]
    assert 1.5 < records[1]["seconds"] / records[0]["seconds"] < 2.01
    assert records[1]["memory_bytes"] > records[0]["memory_bytes"]


def test_weights_of_the_users_are_used():
    torch.manual_seed(0)
    save_file(CSNLN(2, 8, 2).state_dict(), "own.safetensors")
    done = psal("upscale", "in.png", "-x", 2, "-o", "out.png", "--weights", "own.safetensors", "--json")
    assert done.exit_code == 0, done.stderr
    assert lines(done)[0]["model"] is None
    np.testing.assert_array_equal(
        pixels_of("out.png"), Upscaler(networks_for(2, "clean", "own.safetensors"))(pixels_of("in.png"))[0]
    )


REFUSED = {
    "no scale": ([], 2, "Missing option '-x', '--width', '--height', '--long-side' or '--megapixels'"),
    "a scale that is none": (["-x", "1"], 2, "1.0 is not in the range"),
    "a scale that is too large": (["-x", "17"], 2, "17.0 is not in the range"),
    "a scale and a size": (["-x", "2", "--width", "9"], 2, "-x and --width are mutually exclusive"),
    "two sizes": (["--height", "9", "--megapixels", "1"], 2, "--height and --megapixels are mutually exclusive"),
    "a width of nothing": (["--width", "0"], 2, "0 is not in the range"),
    "a side of nothing": (["--height", "1", "--width", "0"], 2, "0 is not in the range"),
    "no megapixels": (["--megapixels", "0"], 2, "0.0 is not in the range"),
    "a size out of reach": (["--long-side", "600"], 2, "--long-side is 18.75 times 32x24, expected at most 16 times"),
    "a size above the limit": (["--width", "300", "--max-pixels", "10k"], 2, "the result would have 300x225 pixels"),
    "weights of another scale": (
        ["-x", "2", "--weights", "three.safetensors"],
        2,
        "--scale is 2, expected 3 or 9, by which three",
    ),
    "weights of another network": (["-x", "2", "--weights", "other.safetensors"], 2, "is not a network that psal"),
    "weights that are none": (["-x", "2", "--weights", "in.png"], 2, "expected .safetensors"),
    "a scale that weights have in no power": (
        ["-x", "8", "--weights", "three.safetensors"],
        2,
        "expected 3 or 9, by which three",
    ),
    "a model beside weights": (["-x", "3", "--weights", "three.safetensors", "--model", "photo"], 2, "mutually exclusive"),
    "a strength beside weights": (["-x", "3", "--weights", "three.safetensors", "--strength", "1"], 2, "mutually exclusive"),
    "a strength of the clean model": (["-x", "2", "--model", "clean", "--strength", "1"], 2, "leave out --model clean"),
    "too much strength": (["-x", "2", "--strength", "1.1"], 2, "1.1 is not in the range"),
    "too many pixels in the result": (
        ["-x", "4", "--max-pixels", "10k"],
        2,
        "the result would have 128x96 pixels",
    ),
    "too little memory": (["-x", "4", "--max-memory", "50M"], 4, "in.png: 32x24 takes"),
    "a result that the format cannot hold": (["-x", "8", "-o", "out.webp"], 2, "WebP holds sides up to 16383, the result is"),
}


@pytest.mark.parametrize(("options", "code", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_are_one_line_and_write_nothing(options, code, message):
    save_file(CSNLN(3, 8, 1).state_dict(), "three.safetensors")
    save_file({"convq.weight": torch.zeros(1)}, "other.safetensors")
    name = "in.png"
    if "out.webp" in options:
        Image.open("in.png").resize((2500, 8)).save(name := "long.png")
    before = tree(".")
    done = psal("upscale", name, *([] if "-o" in options else ["-o", "out.png"]), *options)
    assert done.exit_code == code and message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert tree(".") == before


def test_dry_run_tells_sizes_and_memory():
    done = psal("upscale", "in.png", "-x", 4, "--dry-run")
    assert done.exit_code == 0 and "do: in.png -> in_x4.png (32x24 x 4, " in done.stdout
    (record,) = lines(psal("upscale", "in.png", "-x", 4, "--dry-run", "--json"))
    assert (record["width"], record["height"], record["scale"]) == (32, 24, 4) and record["memory_bytes"] > 1e8
    assert tree(".").keys() == {"in.png"}
