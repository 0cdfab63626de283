"""`psal colorize` as a shell sees it: what goes in and comes out, options, refusals."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms
from safetensors.torch import save_file

from psal_cli import image
from psal_cli.image import read_picture, write_picture
from psal_cli.image.cielab import lab, lightness
from psal_cli.image.colour import meaning_of, to_srgb
from psal_cli.image.metadata import Metadata
from psal_cli.image.picture import Picture
from psal_cli.networks.colorization import ColorizationNetwork
from psal_cli.verbs.colorize import coarse_to_fine as colorize
from psal_cli.verbs.colorize import memory_model as colorize_costs
from psal_cli.verbs.colorize import paper as paper_colorization

from .photos import lines, psal, tree
from .raw_files import profile

SIZE = (72, 96)
ROUNDING = {8: 0.26, 16: 0.0015}  # of L*


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch, pair, quick_colours):
    """grey.png and ref.png: a frame of a video without colours, and another one."""
    monkeypatch.chdir(tmp_path)
    first, second = ((x[0, :, : SIZE[0], : SIZE[1]] * 255).round().byte().permute(1, 2, 0).numpy() for x in pair(128))
    Image.fromarray(first).convert("L").save("grey.png")
    Image.fromarray(first).save("colour.png")
    Image.fromarray(second).save("ref.png")
    return tmp_path


def light(path):
    return lightness(read_picture(path).pixels) * 100


def stored(kind):
    """The grey frame as a file of some kind, and its bits."""
    grey = np.asarray(Image.open("grey.png"))
    alpha = np.linspace(0, 255, grey.size).reshape(grey.shape).astype(np.uint8)
    pixels, bits = grey[..., None], 8
    if "16" in kind:
        pixels, alpha, bits = pixels.astype(np.uint16) * 257 + 3, alpha.astype(np.uint16) * 257, 16
    if "RGB" in kind:
        pixels = pixels.repeat(3, 2)
    write_picture(Picture(pixels, alpha if kind.endswith("A") else None), "in.png")
    return bits


@pytest.mark.parametrize("kind", ["L", "LA", "RGB", "RGBA", "L16", "L16A", "RGB16", "RGB16A"])
def test_any_way_to_store_grey_comes_out_in_colour_with_its_light_and_alpha(kind):
    bits = stored(kind)
    done = psal("colorize", "in.png", "--ref", "ref.png", "-o", "out.png")
    assert done.exit_code == 0 and "has colours" not in done.stderr, done.stderr
    before, after = read_picture("in.png"), read_picture("out.png")
    assert after.pixels.shape == (*SIZE, 3) and after.pixels.dtype == before.pixels.dtype
    assert np.abs(light("out.png") - light("in.png")).max() < ROUNDING[bits]
    assert np.hypot(*np.moveaxis(lab(after.pixels)[..., 1:], 2, 0)).mean() > 0.05
    if kind.endswith("A"):
        np.testing.assert_array_equal(after.alpha, before.alpha)


def test_metadata_and_what_means_srgb_stay():
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    grey = read_picture("grey.png").pixels
    for icc, pixels in ((srgb, grey.repeat(3, 2)), (None, grey)):
        write_picture(Picture(pixels, metadata=Metadata(icc=icc, dpi=(300, 300))), "in.png", force=True)
        done = psal("colorize", "in.png", "--ref", "ref.png", "-o", "out.png", "--force")
        after = read_picture("out.png").metadata
        assert done.exit_code == 0 and "sRGB" not in done.stderr
        assert after.icc == icc and after.dpi == pytest.approx((300, 300), abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [1.0, 1.8, 2.2])
@pytest.mark.parametrize("space", ["GRAY", "RGB "])
@pytest.mark.parametrize("bits", [8, 16])
def test_another_profile_becomes_srgb_and_the_light_stays(bits, space, gamma):
    grey = read_picture("grey.png").pixels
    grey = grey if bits == 8 else grey.astype(np.uint16) * 257 + 3
    pixels = grey if space == "GRAY" else grey.repeat(3, 2)
    write_picture(Picture(pixels, metadata=Metadata(icc=profile(space, gamma))), "in.png")
    done = psal("colorize", "in.png", "--ref", "ref.png", "-o", "out.png")
    assert done.exit_code == 0 and "the result is sRGB" in done.stderr, done.stderr
    after = read_picture("out.png")
    assert meaning_of(after.metadata.icc, 3) == "sRGB"
    meant = (grey[..., 0] / (2**bits - 1)) ** gamma  # luminance
    right = np.where(meant > 216 / 24389, 116 * np.cbrt(meant) - 16, meant * 24389 / 27)
    tolerance = ROUNDING[bits] + (0.4 if bits == 8 else 0.02)  # and that of the way into sRGB
    assert np.abs(light("out.png") - right).max() < tolerance


def test_a_reference_is_understood_through_its_profile():
    picture = read_picture("ref.png")
    wide = Picture(picture.pixels, metadata=Metadata(icc=profile("RGB ", 1.0)))  # as if its numbers were linear
    write_picture(wide, "wide.png")
    write_picture(Picture(to_srgb(picture.pixels, wide.metadata.icc)), "plain.png")
    for name in ("wide", "plain"):
        assert psal("colorize", "grey.png", "--ref", f"{name}.png", "-o", f"{name}_out.png").exit_code == 0
    assert Path("wide_out.png").read_bytes() == Path("plain_out.png").read_bytes()


def test_a_coloured_input_counts_by_its_luminance():
    done = psal("colorize", "colour.png", "--ref", "ref.png", "-o", "out.png")
    assert done.exit_code == 0 and "colour.png has colours: they are left out" in done.stderr
    assert np.abs(light("out.png") - light("colour.png")).max() < ROUNDING[8]
    Image.fromarray(np.asarray(Image.open("colour.png"))[..., ::-1]).save("other.png")  # other colours, another light
    assert psal("colorize", "other.png", "--ref", "ref.png", "-o", "out2.png").exit_code == 0
    assert np.abs(light("out2.png") - light("other.png")).max() < ROUNDING[8]


def test_strength_scales_the_colours():
    chroma = {}
    for strength in (0, 0.5, 1):
        name = f"{strength}.png"
        assert psal("colorize", "grey.png", "--ref", "ref.png", "-o", name, "--strength", strength).exit_code == 0
        chroma[strength] = lab(read_picture(name).pixels)[..., 1:]
    assert np.abs(chroma[0]).max() < 1e-4
    shown = (np.abs(chroma[1]).max(2) < 0.3) & (light("grey.png") > 25) & (light("grey.png") < 90)  # as the screen can
    assert shown.mean() > 0.3
    np.testing.assert_allclose(chroma[0.5][shown], chroma[1][shown] / 2, atol=0.03)


def test_confidence_offsets_and_comparison_are_drawn():
    extras = ["--confidence", "sure.png", "--save-offsets", "field.png", "--compare", "compare.png"]
    done = psal("colorize", "grey.png", "--ref", "ref.png", "--ref", "colour.png", "-o", "out.png", *extras)
    assert done.exit_code == 0, done.stderr
    sure = Image.open("sure.png")
    assert sure.mode == "L" and sure.size == SIZE[::-1] and np.ptp(np.asarray(sure)) > 20
    width, height = read_picture("field.png").size
    assert width >= SIZE[1] and height > SIZE[0]
    compared = np.asarray(Image.open("compare.png"))
    assert compared.shape == (SIZE[0], 4 * SIZE[1] + 3 * 8, 3)
    np.testing.assert_array_equal(compared[:, -SIZE[1] :], np.asarray(Image.open("out.png")))
    np.testing.assert_array_equal(compared[:, SIZE[1] + 8 : 2 * SIZE[1] + 8], np.asarray(Image.open("ref.png")))


def test_guesses_are_counted_and_many_of_them_are_said():
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(noise).save("stranger.png")
    told = {}
    for name in ("colour", "stranger"):
        done = psal(
            "colorize",
            "grey.png",
            "--ref",
            f"{name}.png",
            "-o",
            f"{name}_out.png",
            "--json",
            "--confidence",
            "sure.png",
            "--force",
        )
        guessed = lines(done)[0]["guessed"]
        told[name] = guessed, "are guesses" in done.stderr
        assert guessed == pytest.approx((np.asarray(Image.open("sure.png")) < 127.5).mean(), abs=0.02)
    assert told["colour"][0] < 0.1 and not told["colour"][1]
    assert told["stranger"][0] > 0.6 and told["stranger"][1]
    (record,) = lines(psal("colorize", "grey.png", "--ref", "ref.png", "-o", "paper.png", "--engine", "paper", "--json"))
    assert "guessed" not in record


def test_a_pipe_in_and_out():
    done = psal("colorize", "-", "--ref", "ref.png", "-o", "-", "--format", "png", stdin=Path("grey.png").read_bytes())
    assert done.exit_code == 0, done.stderr
    assert psal("colorize", "grey.png", "--ref", "ref.png", "-o", "out.png").exit_code == 0
    np.testing.assert_array_equal(Image.open(BytesIO(done.stdout_bytes)), Image.open("out.png"))


def test_a_reference_lies_as_its_orientation_says():
    upright = Image.open("ref.png")
    tag = Image.Exif()
    tag[0x0112] = 6  # to be turned by 90 degrees to the right
    upright.transpose(Image.Transpose.ROTATE_90).save("turned.png", exif=tag)
    for name in ("ref", "turned"):
        assert psal("colorize", "grey.png", "--ref", f"{name}.png", "-o", f"{name}_out.png").exit_code == 0
    np.testing.assert_array_equal(Image.open("turned_out.png"), Image.open("ref_out.png"))


def test_options_reach_the_library(monkeypatch):
    seen = {}

    def listening(pixels, references, **options):
        seen.update(options)
        raise ValueError("enough")

    monkeypatch.setattr(colorize, "colorize", listening)
    monkeypatch.setattr(paper_colorization, "colorize", listening)
    monkeypatch.setattr(colorize_costs, "baseline", lambda: 0)
    done = psal("colorize", "grey.png", "--ref", "ref.png", "-o", "o.png", "--seed", 7)
    assert done.exit_code == 2 and "grey.png: enough" in done.stderr
    assert seen["seed"] == 7 and seen["longest"] == 3 * colorize_costs.COARSE
    paper = ["--engine", "paper", "--attention", "psal3", "--iterations", 9]
    psal("colorize", "grey.png", "--ref", "ref.png", "-o", "o.png", *paper)
    assert (seen["attention"], seen["iterations"], seen["weights"]) == ("psal3", 9, None)


def test_a_reference_for_all_is_read_once(monkeypatch):
    Path("in").mkdir()
    for name in "abc":
        Image.open("grey.png").save(f"in/{name}.png")
    names, whole = [], image.read_picture
    monkeypatch.setattr(image, "read_picture", lambda path, *limits: names.append(str(path)) or whole(path, *limits))
    done = psal("colorize", "in", "--ref", "ref.png", "-o", "out", "--jobs", 2)
    assert done.exit_code == 0 and len(tree("out")) == 3
    assert names.count("ref.png") == 1 and len(names) == 4


def test_comparison_of_a_picture_with_a_profile_is_in_srgb():
    linear = Metadata(icc=profile("RGB ", 1.0))
    write_picture(Picture(read_picture("grey.png").pixels.repeat(3, 2), metadata=linear), "in.png")
    assert psal("colorize", "in.png", "--ref", "ref.png", "-o", "out.png", "--compare", "sheet.png").exit_code == 0
    sheet = read_picture("sheet.png")
    assert meaning_of(sheet.metadata.icc, 3) == "sRGB"
    before = lightness(sheet.pixels[:, : SIZE[1]])
    assert np.abs(before - lightness(read_picture("out.png").pixels)).mean() < 0.005  # the result has the input's light


def test_a_limit_of_memory_that_costs_detail_is_said():
    Image.open("grey.png").resize((1400, 200)).save("large.png")
    (record,) = lines(psal("colorize", "large.png", "--ref", "ref.png", "--dry-run", "--json"))
    limit = str(record["memory_bytes"] - 1)
    for more in ((), ("--dry-run",)):
        done = psal("colorize", "large.png", "--ref", "ref.png", "-o", "out.png", "--max-memory", limit, "--force", *more)
        words = f"--max-memory limits the search for colours to {2 * colorize_costs.COARSE} pixels"
        assert done.exit_code == 0 and done.stderr.count(words) == 1, done.stderr


def test_what_the_output_cannot_hold_is_said():
    stored("RGB16A")
    done = psal("colorize", "in.png", "--ref", "ref.png", "-o", "out.jpg", "--background", "white")
    assert done.exit_code == 0 and "8 bits" in done.stderr and "flattened" in done.stderr
    assert np.asarray(Image.open("out.jpg")).shape == (*SIZE, 3)


def test_a_folder_each_with_its_own_reference():
    for place in ("in", "refs"):
        Path(place, "deep").mkdir(parents=True)
    for name, source in (("a", "colour.png"), ("deep/b", "ref.png")):
        Image.open(source).convert("L").save(f"in/{name}.png")
        Image.open(source).save(f"refs/{name}.jpg")
    done = psal("colorize", "in", "-r", "--ref", "refs", "-o", "out", "--json")
    assert done.exit_code == 0, done.stderr
    assert tree("out").keys() == {"a.png", "deep/b.png"}
    assert [record["status"] for record in lines(done)] == ["done", "done"]
    alone = psal("colorize", "in/deep/b.png", "--ref", "refs/deep/b.jpg", "-o", "alone.png")
    assert alone.exit_code == 0 and Path("alone.png").read_bytes() == Path("out/deep/b.png").read_bytes()


def test_a_missing_second_reference_fails_that_picture_only():
    Path("refs").mkdir()
    Image.open("colour.png").save("grey2.png")
    Image.open("ref.png").save("refs/grey.png")
    done = psal("colorize", "grey.png", "grey2.png", "--ref", "colour.png", "--ref", "refs", "-o", "out/")
    assert done.exit_code == 1 and "each picture needs its --ref" in done.stderr
    assert tree("out").keys() == {"grey.png"}


def test_references_among_the_inputs_are_left_out():
    Path("all").mkdir()
    Image.open("grey.png").save("all/grey.png")
    Image.open("ref.png").save("all/ref.png")
    done = psal("colorize", "all", "--ref", "all/ref.png", "-o", "out")
    assert done.exit_code == 0 and tree("out").keys() == {"grey.png"}


def strokes(path, *boxes):
    """Writes hints of grey.png's size: boxes of (left, top, right, bottom, colour) on transparency."""
    hints = Image.new("RGBA", SIZE[::-1])
    for *box, colour in boxes:
        hints.paste(colour, tuple(box))
    hints.save(path)


def test_hints_colour_a_picture_alone_or_over_a_reference():
    strokes("hints.png", (10, 10, 16, 16, "red"), (70, 50, 80, 56, "blue"))
    for name, more in (("alone", []), ("both", ["--ref", "ref.png"])):
        done = psal("colorize", "grey.png", *more, "--hints", "hints.png", "-o", f"{name}.png")
        assert done.exit_code == 0, done.stderr
        assert np.abs(light(f"{name}.png") - light("grey.png")).max() < ROUNDING[8]
        chroma = lab(read_picture(f"{name}.png").pixels)[..., 1:]
        assert chroma[10:16, 10:16, 1].min() > 0.02 and chroma[50:56, 70:80, 1].max() < -0.02  # yellowish red, blue
    assert "of the hints contradict the references: the hints win" in done.stderr


def test_hints_are_found_by_a_pattern():
    strokes("grey_hints.png", (10, 10, 16, 16, "red"))
    done = psal("colorize", "grey.png", "--hints", "{stem}_hints.png", "-o", "out.png", "--dry-run", "--json")
    assert done.exit_code == 0 and lines(done)[0]["hints"] == "grey_hints.png"


@pytest.mark.slow
def test_a_film_carries_colours_from_frame_to_frame(monkeypatch):
    from psal_cli.verbs.colorize import api

    Path("frames").mkdir()
    for name in ("1", "2", "3"):
        Image.open("grey.png").save(f"frames/{name}.png")
    Image.open("grey.png").resize((50, 40)).save("frames/4.png")
    handed, work = [], api.colorize
    monkeypatch.setattr(api, "colorize", lambda *args, **more: handed.append(more["previous"]) or work(*args, **more))
    for more in ([], ["--previous"]):
        done = psal("colorize", "frames", "--ref", "ref.png", "-o", f"out{len(more)}", "--force", *more)
        assert done.exit_code == 0, done.stderr
    assert handed[:5] == [None] * 5 and handed[7] is None  # the first has none, nor has one of another size
    for name, before in (("1", handed[5]), ("2", handed[6])):
        np.testing.assert_array_equal(np.asarray(Image.open(f"out1/{name}.png")), before)


def test_colours_are_ignored_without_a_word_when_that_is_asked_for():
    assert psal("colorize", "colour.png", "--ref", "ref.png", "-o", "told.png").exit_code == 0
    done = psal("colorize", "colour.png", "--ref", "ref.png", "-o", "asked.png", "--ignore-color")
    assert done.exit_code == 0 and "has colours" not in done.stderr
    assert Path("asked.png").read_bytes() == Path("told.png").read_bytes()


def transparent(path):
    Image.fromarray(np.zeros((9, 9, 4), np.uint8) + np.array([200, 30, 40, 0], np.uint8)).save(path)


REFUSED = {
    "a transparent reference": (["--ref", "clear.png"], "clear.png is wholly transparent"),
    "a reference that is grey where it can be seen": (["--ref", "veiled.png"], "veiled.png is grey"),
    "local attention in a picture of another size": (
        ["--ref", "large.png", "--engine", "paper", "--attention", "local"],
        "grey.png: --ref is 97x72, expected one of 96x72, the size of the picture, with attention local",
    ),
    "nothing to take colours from": ([], "Missing option '--ref', '--hints' or '--auto'"),
    "a film on a cluster": (
        ["--ref", "ref.png", "--previous", "--cluster", "tcp://127.0.0.1:1"],
        "--previous and --cluster are mutually exclusive",
    ),
    "the picture itself": (["--ref", "grey.png"], "grey.png is the picture itself, it has nothing to lend"),
    "a grey reference": (["--ref", "grey2.png"], "grey2.png is grey, it has no colours to borrow"),
    "hints of another size": (["--hints", "clear.png"], "--hints is 9x9, expected 96x72, the size of the picture"),
    "hints without transparency": (["--hints", "ref.png"], "--hints is opaque, expected strokes of colour on transparency"),
    "hints without a stroke": (["--hints", "empty.png"], "--hints is wholly transparent, expected strokes of colour"),
    "no such reference": (["--ref", "none.png"], "none.png"),
    "an option of the other engine": (["--ref", "ref.png", "--attention", "psal3"], "--attention requires --engine paper"),
    "a map that the paper's engine has not": (
        ["--ref", "ref.png", "--engine", "paper", "--confidence", "c.png"],
        "--confidence requires --engine psal",
    ),
    "too strong": (["--ref", "ref.png", "--strength", "3"], "3"),
    "no strength": (["--ref", "ref.png", "--strength", "nan"], "nan is not a number"),
    "weights that are none": (["--ref", "ref.png", "--engine", "paper", "--weights", "grey.png"], "expected .safetensors"),
    "weights that do not fit": (
        ["--ref", "ref.png", "--engine", "paper", "--weights", "odd.safetensors"],
        "convq.0.weight is [16, 1, 3, 3], expected [16, 3, 3, 3]",
    ),
}


@pytest.mark.parametrize(("options", "message"), REFUSED.values(), ids=REFUSED)
def test_refusals_are_one_line_and_write_nothing(options, message):
    transparent("clear.png")
    veiled = np.full((9, 9, 4), 128, np.uint8)
    veiled[:, 5:] = 255, 0, 0, 0
    Image.fromarray(veiled + np.array([0, 0, 0, 127], np.uint8) * (veiled[..., 3:] > 0)).save("veiled.png")
    Image.open("ref.png").resize((97, 72)).save("large.png")
    Image.open("grey.png").save("grey2.png")
    Image.new("RGBA", SIZE[::-1], (200, 30, 40, 0)).save("empty.png")
    odd = ColorizationNetwork(torch.nn.Identity()).state_dict() | {"convq.0.weight": torch.zeros(16, 1, 3, 3)}
    save_file(odd, "odd.safetensors")
    before = tree(".")
    done = psal("colorize", "grey.png", "-o", "out.png", *options)
    assert done.exit_code == 2 and message in done.stderr and len(done.stderr.splitlines()) == 1, done.stderr
    assert tree(".") == before


def test_paper_engine_runs_with_weights_of_the_users():
    state = ColorizationNetwork(torch.nn.Identity()).state_dict()
    red = {name: torch.zeros_like(x) for name, x in state.items()} | {"final.0.bias": torch.tensor([3.0, -3.0, -3.0])}
    torch.save({"state_dict": red}, "red.pt")
    done = psal("colorize", "grey.png", "--ref", "ref.png", "-o", "out.png", "--engine", "paper", "--weights", "red.pt")
    assert done.exit_code == 0, done.stderr
    a, b = np.moveaxis(lab(read_picture("out.png").pixels)[..., 1:], 2, 0)
    middle = (light("grey.png") > 30) & (light("grey.png") < 70)
    assert (a[middle] > 0.2).all() and (b[middle] > 0).all()  # all is the red of the last bias
    assert np.abs(light("out.png") - light("grey.png")).max() < ROUNDING[8]


def test_dry_run_tells_size_memory_and_references():
    done = psal("colorize", "grey.png", "--ref", "ref.png", "--ref", "colour.png", "--dry-run")
    assert done.exit_code == 0 and "(96x72, " in done.stdout and "ref ref.png, colour.png)" in done.stdout
    (record,) = lines(psal("colorize", "grey.png", "--ref", "ref.png", "--dry-run", "--json"))
    assert record["ref"] == ["ref.png"] and record["memory_bytes"] > 100_000_000


def test_too_little_memory_is_refused_before_any_work():
    done = psal("colorize", "grey.png", "--ref", "ref.png", "-o", "out.png", "--max-memory", "50M")
    assert done.exit_code == 4 and "50" in done.stderr.replace("0.05", "50") and not Path("out.png").exists()
