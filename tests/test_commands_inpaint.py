"""`psal inpaint`: what a user types, what comes out, and what stops it."""

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from psal_cli import native
from psal_cli.commands.inpaint import inpaint
from psal_cli.image import read_picture
from psal_cli.image.arrays import replaced
from psal_cli.networks.contextual_attention import InpaintingNetwork
from psal_cli.verbs.inpaint import api, memory_model
from psal_cli.verbs.inpaint.guide import network_for
from psal_cli.verbs.inpaint.options import ATTENTIONS, ENGINES, InpaintOptions

from .photos import psal

SIZE = (96, 64)  # width, height
HOLE = np.s_[20:34, 40:58]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in: photo.png, a texture with a blue mark, mask.png over the mark, and other masks."""
    monkeypatch.chdir(tmp_path)
    rows, columns = np.indices(SIZE[::-1])
    texture = np.stack([rows % 8 * 16, columns % 8 * 16, (rows + columns) % 8 * 16], 2).astype(np.uint8)
    texture[HOLE] = (0, 0, 255)
    Image.fromarray(texture).save("photo.png")
    mask = np.zeros(SIZE[::-1], np.uint8)
    mask[HOLE] = 255
    Image.fromarray(mask).save("mask.png")
    Image.fromarray(mask * 0).save("empty.png")
    Image.fromarray(mask * 0 + 255).save("full.png")
    Image.fromarray(mask[:-1]).save("small.png")
    return tmp_path


@pytest.fixture
def engine(monkeypatch):
    """Stands in for the library: fills with white, copied from 5 to the right; `calls` holds what it was given."""
    calls = []

    def fill(image, mask, options, *, source_mask, progress=None):
        calls.append({"image": image, "mask": mask, "options": options, "source_mask": source_mask})
        if progress:
            progress(0.0, "level 1 of 2, 48x32")
            progress(0.3, "level 2 of 2, 96x64")
            progress(0.6, "level 2 of 2, 96x64")
        hole = mask > 0
        white = np.ones((np.count_nonzero(hole), 3 if image.ndim == 3 else 1), np.float32)
        made = replaced(image, hole, white, None if mask.dtype == bool else mask)
        return api.InpaintResult(made, hole, (np.argwhere(hole) + np.array([0, 5])).astype(np.int32), None)

    monkeypatch.setattr(api, "inpaint", fill)
    return calls


def pixels(path):
    return read_picture(path).pixels


def outside(mask_path="mask.png"):
    return np.asarray(Image.open(mask_path)) < 128


def test_inpaint_fills_the_hole_and_nothing_else(folder):
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "--patch-size", 5, "--no-blend")
    assert done.exit_code == 0, done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("psal: photo_inpainted.png: done in") and len(done.stderr.splitlines()) == 1
    before, after = pixels("photo.png"), pixels("photo_inpainted.png")
    assert np.array_equal(after[outside()], before[outside()])
    filled = after[~outside()].reshape(-1, 3)
    texture = {tuple(colour) for colour in before[outside()].tolist()}
    assert np.mean([tuple(colour) in texture for colour in filled.tolist()]) > 0.9  # the source's own pixels, no blue


def test_options_reach_the_library_and_the_picture_goes_as_it_is(folder, engine):
    Image.fromarray(np.tile(np.arange(96, dtype=np.uint8) * 2, (64, 1))).save("source.png")
    args = "--source-mask source.png --patch-size 9 --iterations 3 --seed 42 --no-blend --engine patch --device cpu"
    assert psal("inpaint", "photo.png", "--mask", "mask.png", "-o", "out.png", *args.split()).exit_code == 0
    [call] = engine
    assert np.array_equal(call["image"], pixels("photo.png"))
    assert np.array_equal(call["mask"], ~outside())
    assert np.array_equal(call["source_mask"], ~outside("source.png"))
    assert call["options"] == InpaintOptions(engine="patch", patch_size=9, iterations=3, seed=42, blend=False)
    assert (pixels("out.png")[HOLE] == 255).all()


def test_defaults(folder, engine):
    assert psal("inpaint", "photo.png", "--mask", "mask.png", "--device", "cpu").exit_code == 0
    [call] = engine
    assert call["source_mask"] is None and call["options"] == InpaintOptions()


def test_the_network_has_the_attention_the_weights_and_the_seed_that_were_asked_for(folder, engine):
    torch.save(InpaintingNetwork().state_dict(), "published.pt")
    args = "--engine network --attention original-sum --weights published.pt --seed 9 --device cpu"
    assert psal("inpaint", "photo.png", "--mask", "mask.png", *args.split()).exit_code == 0
    options = engine[0]["options"]
    network = network_for(options)
    assert (network.fine_generator.contextul_attention.normalisation, network.fill, options.seed) == ("sum", "zeros", 9)
    assert (options.device, options.engine) == ("cpu", "network")
    assert (
        psal("inpaint", "photo.png", "--mask", "mask.png", "-o", "b.png", "--engine", "network", "--iterations", 2).exit_code == 0
    )
    assert network_for(engine[1]["options"]).fine_generator.contextul_attention.layer.iterations == 2


@pytest.mark.parametrize("name", ["network", "combined"])
def test_every_engine_fills_the_hole_and_nothing_else(folder, name):
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "--engine", name, "-o", "out.png", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["engine"] == name
    before, after = pixels("photo.png"), pixels("out.png")
    assert np.array_equal(after[outside()], before[outside()])
    assert (after[~outside()] != (0, 0, 255)).any(1).all()  # the blue that was to go


@pytest.mark.slow
def test_attention_that_cannot_fit_is_refused_before_it_is_tried(folder):
    Image.new("RGB", (1000, 900), (90, 120, 150)).save("large.png")
    marked = np.zeros((900, 1000), np.uint8)
    marked[100:200, 100:200] = 255
    Image.fromarray(marked).save("dark.png")
    args = ("inpaint", "large.png", "--mask", "dark.png", "--engine", "network", "--max-memory", "1G")
    done = psal(*args, "--attention", "original")
    assert done.exit_code == 4 and "takes" in done.stderr and "are allowed" in done.stderr and done.stderr.count("\n") == 1
    assert not Path("large_inpainted.png").exists()
    assert psal(*args, "--attention", "psal").exit_code == 0


def test_mask_options(folder, engine):
    before = pixels("photo.png")
    assert psal("inpaint", "photo.png", "--mask", "mask.png", "--dilate", 2, "--feather", 4, "-o", "soft.png").exit_code == 0
    after = pixels("soft.png")
    rows, columns = np.indices(SIZE[::-1])
    away = np.hypot(np.clip(np.maximum(20 - rows, rows - 33), 0, None), np.clip(np.maximum(40 - columns, columns - 57), 0, None))
    assert np.array_equal(engine[0]["mask"] > 0, away <= 6)
    assert np.array_equal(after[away > 6], before[away > 6])
    assert (after[away <= 2] == 255).all()
    ring = (away > 2) & (away <= 6)
    assert (after[ring].astype(int) >= before[ring]).all() and (after[ring] < 255).any()
    assert psal("inpaint", "photo.png", "--mask", "mask.png", "--mask-invert", "-o", "inverse.png").exit_code == 0
    assert np.array_equal(engine[1]["mask"], outside())


def test_transparent_pixels_are_no_source_and_alpha_is_kept(folder):
    picture = np.dstack([pixels("photo.png"), np.full(SIZE[::-1], 200, np.uint8)])
    picture[:, :30, 3] = 0
    Image.fromarray(picture).save("layer.png")
    assert psal("inpaint", "layer.png", "--mask", "mask.png", "--save-offsets", "field.npy").exit_code == 0
    rows, columns = np.argwhere(~outside()).T + np.load("field.npy")[0][:, ~outside()]
    assert (picture[..., 3] > 0)[rows, columns].all()
    assert np.array_equal(read_picture("layer_inpainted.png").alpha, picture[..., 3])


def test_json_is_one_line_that_says_it_all(folder, engine):
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "-o", "out.png", "--json", "-q", "--seed", 3)
    assert done.stderr == "" and done.stdout.count("\n") == 1
    record = json.loads(done.stdout)
    assert record.pop("seconds") >= 0 and record.pop("peak_memory_bytes") > 10_000_000
    digest = hashlib.sha256(Path("out.png").read_bytes()).hexdigest()
    said = {"input": "photo.png", "output": "out.png", "seed": 3, "engine": "combined", "device": "cpu", "sha256": digest}
    assert record == said | {"status": "done", "error": None, "exit_code": 0}
    failed = psal("inpaint", "photo.png", "--mask", "small.png", "-o", "other.png", "--json")
    record = json.loads(failed.stdout)
    assert failed.exit_code == 2 and record["status"] == "failed" and record["error"] in failed.stderr
    assert record["sha256"] is None


def test_an_empty_mask_copies_the_input(folder, engine):
    done = psal("inpaint", "photo.png", "--mask", "empty.png", "--compare", "c.png", "--json")
    assert done.exit_code == 0 and "marks nothing to fill" in done.stderr
    assert Path("photo_inpainted.png").read_bytes() == Path("photo.png").read_bytes()
    assert json.loads(done.stdout)["status"] == "copied"
    assert psal("inpaint", "photo.png", "--mask", "empty.png", "-o", "copy.tif").exit_code == 0
    assert np.array_equal(pixels("copy.tif"), pixels("photo.png"))
    assert not Path("c.png").exists() and engine == []


def test_overwriting_the_input_needs_force(folder, engine):
    before = Path("photo.png").read_bytes()
    refused = psal("inpaint", "photo.png", "--mask", "mask.png", "-o", "photo.png")
    assert refused.exit_code == 2 and "photo.png exists: --force" in refused.stderr
    assert Path("photo.png").read_bytes() == before
    assert psal("inpaint", "photo.png", "--mask", "mask.png", "-o", "photo.png", "--force").exit_code == 0
    assert (pixels("photo.png")[HOLE] == 255).all()


REFUSALS = {
    "--mask mask.png": "Missing argument 'IMAGE...'",
    "photo.png": "Missing option '--mask'",
    "photo.png --mask mask.png --msk x": "No such option '--msk'",
    "none.png --mask mask.png": "none.png: no such file",
    "text.png --mask mask.png": "text.png is not a picture",
    "photo.png --mask none.png": "--mask is none.png, which does not exist",
    "photo.png --mask text.png": "text.png is not a picture",
    "photo.png --mask small.png": "small.png is 96x63, the picture is 96x64",
    "photo.png --mask full.png": "full.png covers the whole picture",
    "photo.png --mask mask.png --source-mask small.png": "small.png is 96x63",
    "photo.png --mask mask.png --source-mask empty.png": "empty.png allows nothing to be copied from",
    "photo.png --mask mask.png -o text.png": "text.png exists: --force",
    "photo.png --mask mask.png -o none/out.png": "folder",
    "photo.png --mask mask.png -o out.gif": "the extension .gif",
    "photo.png --mask mask.png -o out": "no extension",
    "photo.png --mask mask.png -o mask.png --force": "mask.png is an input of the same command",
    "photo.png --mask mask.png --compare text.png": "text.png exists",
    "photo.png --mask mask.png --compare photo.png --force": "photo.png is an input",
    "photo.png --mask mask.png --save-offsets none/o.png": "folder",
    "photo.png --mask mask.png -o o.png --compare ./o.png": "o.png is another output",
    "layer.png --mask mask.png -o out.jpg": "JPEG holds no alpha",
    "photo.png --mask mask.png --device gpu": "'gpu' is not a device: auto, cpu, cuda or cuda:N",
    "photo.png --mask mask.png --patch-size 8": "8 is even: give an odd number, e.g. 9",
    "photo.png --mask mask.png --patch-size 33": "33 is not in the range",
    "photo.png --mask mask.png --quality 0": "0 is not in the range",
    "photo.png --mask mask.png --dilate -1": "-1 is not in the range",
    "photo.png --mask mask.png --engine lama": "'lama' is not one of 'combined', 'patch', 'network'",
    "photo.png --mask mask.png --engine network --save-offsets o.png": "--save-offsets requires --engine patch or combined",
    "photo.png --mask mask.png --engine network --source-mask mask.png": "--source-mask requires --engine patch or combined",
    "photo.png --mask mask.png --engine patch --attention original": "--attention requires --engine combined or network",
    "photo.png --mask mask.png --engine combined --weights photo.png": "expected .safetensors, .pt or .pth",
    "photo.png --mask mask.png --engine combined --weights odd.pt": "does not fit InpaintingNetwork: it lacks",
    "photo.png --mask mask.png --threads 0": "0 is not in the range",
}


@pytest.mark.parametrize("args", REFUSALS)
def test_refusals_are_one_line_with_code_2_before_any_work(folder, engine, args):
    Path("text.png").write_text("no picture")
    Path("folder.png").mkdir()
    Image.new("RGBA", SIZE, (1, 2, 3, 100)).save("layer.png")
    torch.save({"odd": torch.zeros(1)}, "odd.pt")
    before = {file.name: file.is_file() and file.read_bytes() for file in folder.iterdir()}
    done = psal("inpaint", *args.split())
    assert done.exit_code == 2
    assert REFUSALS[args] in done.stderr and done.stderr.startswith("psal") and done.stderr.count("\n") == 1
    assert done.stdout == "" and engine == []
    assert {file.name: file.is_file() and file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("built", "torch_cuda", "devices", "asked", "words"),
    [
        ("", None, 0, "cuda", "psal was installed without its CUDA library"),
        ("80-real", None, 0, "cuda:0", "was built without CUDA"),
        ("80-real", "12.8", 0, "cuda", "torch sees no CUDA device"),
        ("80-real", "12.8", 1, "cuda:1", "there are 1 CUDA devices"),
    ],
)
def test_cuda_that_is_not_there_is_refused(folder, engine, monkeypatch, built, torch_cuda, devices, asked, words):
    monkeypatch.setattr(native, "cuda_architectures", lambda: built)
    monkeypatch.setattr(torch.version, "cuda", torch_cuda)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: devices > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "--device", asked)
    assert done.exit_code == 2 and words in done.stderr and engine == []
    assert done.stderr.count("\n") == 1 and not Path("photo_inpainted.png").exists()


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (ValueError("patch_size is 31, larger than the key"), 2, "photo.png: patch_size is 31"),
        (MemoryError(), 4, "out of memory"),
        (torch.OutOfMemoryError("CUDA out of memory"), 4, "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"), 4, "out of memory"),
        (RuntimeError("psal search_cpu: std::bad_alloc"), 4, "out of memory"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (TypeError("a bug\nof two lines"), 1, "internal error, TypeError: a bug of two lines"),
    ],
)
def test_what_stops_the_engine(folder, monkeypatch, error, code, words):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(api, "inpaint", fail)
    before = sorted(folder.iterdir())
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "--json")
    assert done.exit_code == code
    assert words in done.stderr and done.stderr.count("\n") == 1
    assert words.partition(",")[0] in json.loads(done.stdout)["error"]
    assert "Traceback" in psal("inpaint", "photo.png", "--mask", "mask.png", "-vv").stderr
    assert sorted(folder.iterdir()) == before


def test_a_failing_disk_is_exit_1(folder, engine, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    before = sorted(folder.iterdir())
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "-q")
    assert done.exit_code == 1 and done.stderr.count("\n") == 1
    assert "cannot write photo_inpainted.png: the disk is full" in done.stderr
    assert sorted(folder.iterdir()) == before


def test_quiet_and_verbose(folder, engine, threads):
    assert psal("inpaint", "photo.png", "--mask", "mask.png", "-q", "-o", "1.png").output == ""
    threads(torch.get_num_threads())
    loud = psal("inpaint", "photo.png", "--mask", "mask.png", "-v", "-o", "2.png", "--threads", 1, "--device", "cpu").stderr
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (1, 1)
    cv2.setNumThreads(-1)
    assert "device cpu (asked for), 1 CPU threads" in loud and "PNG, 96x64, 252 pixels to fill" in loud
    usual = psal("inpaint", "photo.png", "--mask", "mask.png", "-o", "3.png").stderr.splitlines()
    assert usual[0].startswith("psal: 3.png: done in") and len(usual) == 1
    levels = [line for line in loud.splitlines() if "level" in line]
    assert levels == ["psal: photo.png: level 1 of 2, 48x32", "psal: photo.png: level 2 of 2, 96x64"]


def test_names_may_hold_anything(folder, engine):
    for name in ("Löwenzahn 蒲公英.png", "with space.PNG", "-dash.png", "wei\udcfferd.png"):
        Path(name).write_bytes(Path("photo.png").read_bytes())
        done = psal("inpaint", "--mask", "mask.png", "--json", "--", name)
        assert done.exit_code == 0, done.stderr
        assert Path(json.loads(done.stdout)["output"]).exists()
    assert Path("with space_inpainted.PNG").exists()


def test_offsets_and_comparison(folder, engine):
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "--save-offsets", "o.png", "--compare", "c.png")
    assert done.exit_code == 0, done.stderr
    drawn = pixels("o.png")
    assert drawn.shape[0] > 64 and drawn.shape[1] >= 96  # the picture and its legend
    assert (drawn[HOLE] == (255, 0, 0)).all()  # all sources lie to the right: red
    assert drawn[:64, :96][outside()].max() < 100  # dimmed
    row = pixels("c.png")
    assert row.shape == (64, 3 * 96 + 2 * 8, 3)
    assert np.array_equal(row[:, :96], pixels("photo.png"))
    assert np.array_equal(row[:, 208:], pixels("photo_inpainted.png"))
    marked = row[:, 104:200]
    assert np.array_equal(marked[outside()], pixels("photo.png")[outside()]) and (marked[HOLE] == (170, 0, 85)).all()


def test_a_comparison_is_of_a_bounded_size(folder, engine):
    Image.new("L", (3000, 1500), 90).save("large.png")
    mask = Image.new("L", (3000, 1500))
    mask.paste(255, (0, 0, 50, 50))
    mask.save("large_mask.png")
    assert psal("inpaint", "large.png", "--mask", "large_mask.png", "--compare", "c.jpg").exit_code == 0
    assert pixels("c.jpg").shape == (600, 3 * 1200 + 2 * 8, 3)
    assert pixels("large_inpainted.png").shape == (1500, 3000, 1)  # grey stays grey


def test_the_command_offers_every_engine_and_attention():
    offered = {option.name: option.type.choices for option in inpaint.params if option.name in ("engine", "attention")}
    assert offered == {"engine": ENGINES, "attention": ATTENTIONS}


def test_a_gpu_is_refused_for_work_that_the_cpu_does(folder):
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "--engine", "patch", "--device", "cuda")
    assert done.exit_code == 2 and "--device cuda: --engine patch runs on the CPU only: leave --device out" in done.stderr
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "--engine", "patch", "--json", "-v")
    assert json.loads(done.stdout)["device"] == "cpu" and "--engine patch runs on the CPU only" in done.stderr


def test_nothing_to_copy_is_said_with_its_cure(folder, monkeypatch):
    spot = Image.new("L", SIZE)
    spot.paste(255, (90, 0, 93, 3))
    spot.save("spot.png")
    run = ("inpaint", "photo.png", "--mask", "mask.png", "--source-mask", "spot.png")
    nothing = "nothing is left to copy from: no patch of 7x7 lies whole outside the mask"
    done = psal(*run)
    assert (
        done.exit_code == 2
        and done.stderr.splitlines()[-1] == f"psal: photo.png: {nothing} (a smaller mask or --patch-size leaves some)"
    )
    whole = memory_model.plan
    monkeypatch.setattr(memory_model, "plan", lambda *args, **options: replace(whole(*args, **options), reach=10))
    done = psal(*run)
    assert done.exit_code == 4 and f"photo.png: {nothing}, 10 pixels around: allow more with --max-memory" in done.stderr


@pytest.mark.parametrize(
    "options",
    [
        ["inpaint", "--engine", "patch", "--mask"],
        ["inpaint", "--engine", "patch", "--box", "1,1,9,9", "--source-mask"],
        ["generate", "--keep"],
        ["colorize", "--hints"],
    ],
    ids=["mask", "source-mask", "keep", "hints"],
)
def test_a_mask_of_another_size_is_refused_before_the_picture_is_decoded(tmp_path, monkeypatch, options):
    from psal_cli.image import reading

    monkeypatch.chdir(tmp_path)
    Image.new("L", (640, 480)).save("photo.png")
    Image.new("L", (64, 64), 255).save("mask.png")
    monkeypatch.setattr(reading, "decoded", lambda *_: pytest.fail("decoded"))
    done = psal(*options, "mask.png", "photo.png")
    assert done.exit_code == 2 and "is 64x64, " in done.stderr and " 640x480" in done.stderr
