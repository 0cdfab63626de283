"""The library: what every verb takes and gives, its options, hooks, limits and errors."""

import ast
import dataclasses
import time
import typing
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations_with_replacement
from pathlib import Path
from threading import Barrier

import numpy as np
import pytest
import torch
from PIL import Image

import psal_cli
from psal_cli.attention import PSAttention
from psal_cli.image.cielab import lightness
from psal_cli.networks.pasting import Pasting
from psal_cli.verbs.colorize import options as colorize_options
from psal_cli.verbs.colorize import paper
from psal_cli.verbs.generate import options as generate_options
from psal_cli.verbs.generate import sampling
from psal_cli.verbs.inpaint import memory_model, painter
from psal_cli.verbs.inpaint import options as inpaint_options
from psal_cli.verbs.reconstruct import options as reconstruct_options
from psal_cli.verbs.upscale import options as upscale_options
from psal_cli.verbs.upscale.networks import networks_for

SIZE = (24, 32)
WHITE = {"uint8": 255, "uint16": 65535, "float32": 1}


@pytest.fixture
def photo(pair, quick_colours):
    """A function: kind ("L", "LA", "RGB", "RGBA") and dtype -> a piece of a video frame, number 0 or 1."""

    def make(kind="RGB", dtype="uint8", number=0):
        shares = pair(64)[number][0].permute(1, 2, 0).numpy()[: SIZE[0], : SIZE[1]]
        shares = np.rint(shares * 255) / 255
        if kind.startswith("L"):
            shares = shares[..., :1]
        if kind.endswith("A"):
            shares = np.dstack([shares, np.linspace(0.2, 1, SIZE[1], dtype=np.float32)[None].repeat(SIZE[0], 0)])
        values = shares * WHITE[dtype]
        array = (values if dtype == "float32" else np.rint(values)).astype(dtype)
        return array[..., 0] if kind == "L" else array

    return make


HOLE = np.zeros(SIZE, bool)
HOLE[8:13, 10:16] = True

VERBS = {
    "inpaint": lambda picture, other, **more: psal_cli.inpaint(picture, HOLE, **more),
    "patch": lambda picture, other, **more: psal_cli.inpaint(picture, HOLE, engine="patch", patch_size=5, **more),
    "network": lambda picture, other, **more: psal_cli.inpaint(picture, HOLE, engine="network", **more),
    "colorize": lambda picture, other, **more: psal_cli.colorize(picture, [other], **more),
    "paper": lambda picture, other, **more: psal_cli.colorize(picture, [other], engine="paper", **more),
    "upscale": lambda picture, other, **more: psal_cli.upscale(picture, 2, **more),
    "generate": lambda picture, other, **more: psal_cli.generate(picture, method="psin", patch_size=5, **more),
    "reconstruct": lambda picture, other, **more: psal_cli.reconstruct(picture, picture[::-1], **more),
}


QUICK = (("L", "uint16"), ("LA", "uint8"), ("RGB", "float32"), ("RGBA", "uint8"))  # each kind and each dtype once
SLOW = (("LA", "float32"), ("RGB", "uint8"), ("RGBA", "uint16"))  # and alpha in each dtype
PICTURES = [*QUICK, *(pytest.param(*each, marks=pytest.mark.slow) for each in SLOW)]


@pytest.mark.parametrize(("kind", "dtype"), PICTURES)
@pytest.mark.parametrize("verb", VERBS)
def test_shape_and_dtype_of_the_result_are_those_of_the_picture(verb, kind, dtype, photo):
    picture = photo(kind, dtype)
    before = picture.copy()
    image = VERBS[verb](picture, photo(number=1)).image
    times = 2 if verb == "upscale" else 1
    channels = picture.shape[2:]
    if verb in ("colorize", "paper"):
        channels = {"L": (3,), "LA": (4,)}.get(kind, channels)  # grey gets its colours
    assert image.shape == (times * SIZE[0], times * SIZE[1], *channels) and image.dtype == picture.dtype
    np.testing.assert_array_equal(picture, before)
    assert image.min() >= 0 and image.max() <= WHITE[dtype] and np.ptp(image) > 0.2 * WHITE[dtype]
    if kind.endswith("A") and verb in ("inpaint", "patch", "network", "colorize", "paper", "reconstruct"):
        np.testing.assert_array_equal(image[..., -1], picture[..., -1])


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_the_same_picture_in_another_depth_gives_about_the_same(verb, photo):
    small, deep, shares = (VERBS[verb](photo("RGB", dtype), photo(number=1)).image / WHITE[dtype] for dtype in WHITE)
    assert np.median(np.abs(deep - shares)) < 1e-4 and np.median(np.abs(small - shares)) < 0.003  # a match may be another


def test_a_colorized_picture_of_floats_keeps_its_luminance(photo):
    picture = photo("L", "float32") ** 1.1
    out = psal_cli.colorize(picture, [photo(number=1)]).image
    assert np.abs(lightness(out) - lightness(picture[..., None])).max() < 1e-4


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA"])
def test_a_pillow_image_is_taken_as_its_array(mode, photo):
    image = Image.fromarray(photo("RGBA")).convert(mode)
    np.testing.assert_array_equal(psal_cli.upscale(image, 2).image, psal_cli.upscale(np.asarray(image), 2).image)


def test_transparent_parts_of_references_lend_nothing(photo):
    reference = np.dstack([photo(number=1), np.full(SIZE, 255, np.uint8)])
    reference[:, 20:] = 0, 255, 0, 0
    for result in (psal_cli.colorize(photo("L"), [reference]), psal_cli.reconstruct(photo(), reference)):
        assert result.field.sources[:, 1].max() < 20
    other = reference.copy()
    other[:, 20:, :3] = 255, 0, 255
    np.testing.assert_array_equal(psal_cli.colorize(photo("L"), [reference]).image, psal_cli.colorize(photo("L"), [other]).image)


@pytest.mark.parametrize("engine", inpaint_options.ENGINES)
@pytest.mark.parametrize("dtype", WHITE)
def test_inpaint_changes_nothing_outside_the_mask(engine, dtype, photo):
    picture = photo("RGBA", dtype) if dtype != "float32" else photo("RGBA", dtype) * np.float32(0.987)
    picture[:, 18:, 3] = 0
    result = psal_cli.inpaint(picture, HOLE, engine=engine)
    np.testing.assert_array_equal(result.image[~HOLE], picture[~HOLE])
    assert (result.image[HOLE] != picture[HOLE]).any() and (result.filled == HOLE).all()
    if engine != "network":
        sources = result.field.sources[0]
        assert (sources[:, ~HOLE] == -1).all()
        rows, columns = sources[:, HOLE]
        np.testing.assert_array_equal(np.stack([rows, columns], 1), result.origins)
        assert not HOLE[rows, columns].any() and picture[rows, columns, 3].all()  # what is invisible is not copied
        copies = psal_cli.inpaint(picture, HOLE, engine=engine, blend=False)
        np.testing.assert_array_equal(copies.image[HOLE][:, :3], picture[rows, columns, :3])


def test_a_soft_mask_mixes_the_fill_with_what_was_there(photo):
    picture = photo("RGB", "float32")
    soft = HOLE * np.float32(0.25)
    whole, mixed = (psal_cli.inpaint(picture, mask).image for mask in (HOLE, soft))
    np.testing.assert_allclose(mixed[HOLE], 0.25 * whole[HOLE] + 0.75 * picture[HOLE], atol=1e-6)
    np.testing.assert_array_equal(mixed[~HOLE], picture[~HOLE])


def test_any_layout_of_memory_gives_the_same_fill(photo):
    picture = photo("RGBA")
    known = psal_cli.inpaint(picture, HOLE)
    for other in (np.asfortranarray(picture), picture[::-1, ::-1].copy()[::-1, ::-1], np.dstack([picture, picture])[..., :4]):
        np.testing.assert_array_equal(psal_cli.inpaint(other, HOLE).image, known.image)


def test_kept_floats_are_kept_bit_for_bit(photo):
    keep = np.zeros(SIZE, bool)
    keep[4:14, 6:20] = True
    picture = photo("RGB", "float32") * np.float32(0.987)
    made = psal_cli.generate(picture, keep=keep, method="psin", patch_size=5, levels=1)
    np.testing.assert_array_equal(made.image[keep], picture[keep])
    rows, columns = made.field.sources[0][:, keep]
    np.testing.assert_array_equal(np.stack([rows, columns]), np.stack(np.nonzero(keep)))


# ------------------------------------------------------------------------------------------------------------------ options

OPTIONS = [
    (inpaint_options.InpaintOptions, inpaint_options.InpaintChanges),
    (colorize_options.ColorizeOptions, colorize_options.ColorizeChanges),
    (upscale_options.UpscaleOptions, upscale_options.UpscaleChanges),
    (generate_options.GenerateOptions, generate_options.GenerateChanges),
    (reconstruct_options.ReconstructOptions, reconstruct_options.ReconstructChanges),
]


@pytest.mark.parametrize(("options", "changes"), OPTIONS, ids=lambda x: x.__name__)
def test_keywords_are_the_fields_of_the_options(options, changes):
    assert typing.get_type_hints(changes) == {field.name: field.type for field in dataclasses.fields(options)}
    documented = options.__doc__.partition("Attributes:")[2]
    assert all(f"\n        {field.name}: " in documented for field in dataclasses.fields(options))
    with pytest.raises(dataclasses.FrozenInstanceError):
        options().seed = 1


def test_options_and_keywords_mean_the_same_and_keywords_win(photo):
    picture, other = photo(), photo(number=1)
    options = psal_cli.ReconstructOptions(k=2, seed=3, iterations=1)
    by_options = psal_cli.reconstruct(picture, other, options).image
    np.testing.assert_array_equal(by_options, psal_cli.reconstruct(picture, other, k=2, seed=3, iterations=1).image)
    changed = psal_cli.reconstruct(picture, other, options, k=1)
    np.testing.assert_array_equal(changed.image, psal_cli.reconstruct(picture, other, k=1, seed=3, iterations=1).image)
    with pytest.raises(TypeError, match="rounds"):
        psal_cli.reconstruct(picture, other, rounds=3)


# ------------------------------------------------------------------------------------------------------------------ errors

GREY = np.zeros(SIZE, np.uint8)
COLOURS = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
REFUSED = {
    "a mask of bytes": (lambda: psal_cli.inpaint(GREY, GREY), "mask", "bool [24, 32]"),
    "a mask of another size": (lambda: psal_cli.inpaint(GREY, HOLE[1:]), "mask", "bool [24, 32]"),
    "a soft mask beyond 1": (lambda: psal_cli.inpaint(GREY, HOLE * np.float32(2)), "mask", "values in [0, 1]"),
    "an empty mask": (lambda: psal_cli.inpaint(GREY, ~HOLE & HOLE), "mask", "at least one pixel to fill"),
    "a full mask": (lambda: psal_cli.inpaint(GREY, HOLE | ~HOLE), "mask", "pixels outside of it"),
    "a mask that leaves no patch": (lambda: psal_cli.inpaint(GREY, HOLE, patch_size=23), "mask", "a whole patch of 23x23 pixels"),
    "a source mask of bytes": (lambda: psal_cli.inpaint(GREY, HOLE, source_mask=GREY), "source_mask", "bool [24, 32]"),
    "nothing to copy": (lambda: psal_cli.inpaint(GREY, HOLE, source_mask=HOLE), "mask", "a whole patch of 7x7 pixels"),
    "an engine of inpaint": (lambda: psal_cli.inpaint(GREY, HOLE, engine="lama"), "engine", "one of combined, patch, network"),
    "an even patch": (lambda: psal_cli.InpaintOptions(patch_size=4), "patch_size", "an odd number from 3 to 31"),
    "a reach of nothing": (lambda: psal_cli.InpaintOptions(reach=0), "reach", "at least 1 pixel"),
    "patches on a GPU": (lambda: psal_cli.InpaintOptions(engine="patch", device="cuda"), "device", 'cpu with engine "patch"'),
    "patches by weights": (lambda: psal_cli.InpaintOptions(engine="patch", weights="a.pt"), "weights", 'engine "combined"'),
    "float64": (lambda: psal_cli.upscale(GREY / 255, 2), "image", "uint8, uint16 or float32"),
    "five channels": (lambda: psal_cli.upscale(np.zeros((4, 4, 5), np.uint8), 2), "image", "[H, W, 3]"),
    "no pixels": (lambda: psal_cli.generate(np.zeros((0, 4), np.uint8)), "image", "[H, W]"),
    "infinity": (lambda: psal_cli.generate(np.full((24, 32), np.inf, np.float32)), "image", "finite values"),
    "NaN": (lambda: psal_cli.upscale(np.full((4, 4), np.nan, np.float32), 2), "image", "finite values"),
    "a reference of booleans": (lambda: psal_cli.reconstruct(GREY, GREY > 0), "reference", "uint8"),
    "no references": (lambda: psal_cli.colorize(GREY, []), "references", "at least one"),
    "a grey reference": (lambda: psal_cli.colorize(GREY, [COLOURS, GREY]), "references[1]", "with colours"),
    "a hidden reference": (
        lambda: psal_cli.colorize(GREY, [np.dstack([COLOURS, GREY])]),
        "references[0]",
        "with colours",
    ),
    "strength": (lambda: psal_cli.colorize(GREY, [COLOURS], strength=3), "strength", "0 to 2"),
    "NaN as strength": (lambda: psal_cli.ColorizeOptions(strength=float("nan")), "strength", "0 to 2"),
    "engine": (lambda: psal_cli.ColorizeOptions(engine="other"), "engine", "one of psal, paper"),
    "local attention": (
        lambda: psal_cli.colorize(GREY, [COLOURS[1:]], engine="paper", attention="local"),
        "references",
        "one of 32x24",
    ),
    "scale": (lambda: psal_cli.upscale(GREY, 17), "scale", "above 1, at most 16"),
    "no scale": (lambda: psal_cli.upscale(GREY), "scale", "one of scale, width and height, long_side and megapixels"),
    "a scale and a size": (lambda: psal_cli.upscale(GREY, 2, width=9), "scale", "one of scale, width and height"),
    "a size out of reach": (lambda: psal_cli.upscale(GREY, long_side=999), "long_side", "at most 16 times"),
    "a width of nothing": (lambda: psal_cli.UpscaleOptions(width=0), "width", "at least 1"),
    "a side of nothing": (lambda: psal_cli.upscale(GREY[:2], long_side=4), "long_side", "leaves a pixel of each side"),
    "megapixels": (lambda: psal_cli.UpscaleOptions(megapixels=0), "megapixels", "above 0"),
    "weights that are none": (lambda: psal_cli.upscale(GREY, 2, weights=7), "weights", "a torch.nn.Module"),
    "a module of another task": (lambda: psal_cli.upscale(GREY, weights=torch.nn.Identity().eval()), "weights", "n at least 2"),
    "a module in training": (lambda: psal_cli.upscale(GREY, weights=torch.nn.Upsample(scale_factor=2)), "weights", "evaluation"),
    "model": (lambda: psal_cli.upscale(GREY, 2, model="sharp"), "model", "one of auto, clean, photo"),
    "NaN as strength of a blend": (lambda: psal_cli.UpscaleOptions(strength=float("nan")), "strength", "0 to 1"),
    "a strength of a network": (lambda: psal_cli.UpscaleOptions(strength=0.5, weights="x.pth"), "strength", "beside weights"),
    "a strength of the clean model": (lambda: psal_cli.UpscaleOptions(strength=0.5, model="clean"), "strength", "auto or photo"),
    "method": (lambda: psal_cli.generate(GREY, method="sin"), "method", "one of psinot, psin"),
    "levels": (lambda: psal_cli.generate(GREY, levels=3, method="psin"), "levels", "at most 2"),
    "generate on a GPU": (lambda: psal_cli.generate(GREY, device="cuda"), "device", "cpu"),
    "a device that is none": (lambda: psal_cli.UpscaleOptions(device="tpu"), "device", "cpu, cuda or cuda:N"),
    "keep": (lambda: psal_cli.generate(GREY, keep=GREY), "keep", "bool [24, 32]"),
    "patch_size": (lambda: psal_cli.reconstruct(GREY, GREY, patch_size=4), "patch_size", "an odd number from 1 to 31"),
    "k": (lambda: psal_cli.ReconstructOptions(k=0), "k", "1 to 64"),
    "temperature": (lambda: psal_cli.ReconstructOptions(temperature=0), "temperature", "above 0"),
    "seed": (lambda: psal_cli.UpscaleOptions(seed=2**32), "seed", "0 to 4294967295"),
}


@pytest.mark.parametrize(("call", "what", "expected"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_used_is_refused_with_its_name_its_value_and_what_would_do(call, what, expected):
    with pytest.raises(psal_cli.InvalidValueError) as caught:
        call()
    error = caught.value
    assert isinstance(error, ValueError) and error.what == what and expected in error.expected
    assert str(error) == f"{what} is {error.value}, expected {error.expected}"


LIBRARY = ("attention", "memory.py", "networks", "ops", "patchmatch", "verbs", "viz", "weights.py")


def test_the_library_names_no_option_of_the_command():
    package = Path(psal_cli.__file__).parent
    files = [path for name in LIBRARY for path in ([package / name] if "." in name else (package / name).rglob("*.py"))]
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not any(word.startswith("--") for word in node.value.split()), f"{path}:{node.lineno}: {node.value}"


# ------------------------------------------------------------------------------------------------------------------ hooks


@pytest.mark.parametrize("verb", VERBS)
def test_progress_grows_to_the_end_and_a_cancel_stops_at_the_next_step(verb, photo):
    steps = []
    VERBS[verb](photo(), photo(number=1), progress=lambda share, text: steps.append((share, text)))
    shares = [share for share, _ in steps]
    assert shares == sorted(shares) and shares[0] == 0 and 0.9 < shares[-1] <= 1 and all(text for _, text in steps)
    told = []
    with pytest.raises(psal_cli.CancelledError):
        VERBS[verb](
            photo(), photo(number=1), progress=lambda *step: told.append(step), cancel=lambda: len(told) == len(steps) - 1
        )
    assert told == steps[:-1]


LONG = {
    "inpaint": lambda picture, other, **more: psal_cli.inpaint(picture, wide_hole(picture), **more),
    "patch": lambda picture, other, **more: psal_cli.inpaint(picture, wide_hole(picture), engine="patch", **more),
    "colorize": VERBS["colorize"],
    "upscale": VERBS["upscale"],
    "psin": VERBS["generate"],
    "psinot": lambda picture, other, **more: psal_cli.generate(picture, **more),
}


def wide_hole(picture):
    height, width = picture.shape[:2]
    mask = np.zeros((height, width), bool)
    mask[height * 2 // 15 : height * 4 // 5, width // 5 : width * 4 // 5] = True
    return mask


@pytest.mark.slow
@pytest.mark.parametrize("verb", LONG)
def test_the_share_that_is_told_follows_the_time_and_moves_inside_long_steps(verb, photo, threads, monkeypatch):
    threads(1)
    monkeypatch.setattr(sampling, "TRANSPORTS", 15)
    pair = [Image.fromarray(photo(number=number)) for number in (0, 1)]
    small, large = ([np.asarray(image.resize(size)) for image in pair] for size in ((40, 30), (300, 225)))
    LONG[verb](*small)  # loads what is loaded once
    steps, start = [(0.0, 0.0)], time.process_time()
    LONG[verb](*large, progress=lambda share, _: steps.append((share, time.process_time() - start)))
    shares, times = np.array([*steps, (1.0, time.process_time() - start)]).T
    assert np.diff(shares).max() < 0.6, shares.round(2)
    assert np.abs(shares - times / times[-1]).max() < 0.4, np.stack([shares, times / times[-1]]).round(2)


@pytest.mark.parametrize("verb", VERBS)
def test_a_limit_of_memory_is_kept_or_refused_with_figures(verb, photo):
    free = VERBS[verb](photo(), photo(number=1)).image
    np.testing.assert_array_equal(VERBS[verb](photo(), photo(number=1), max_memory=4 * 10**9).image, free)
    with pytest.raises(psal_cli.MemoryLimitError) as caught:
        VERBS[verb](photo(), photo(number=1), max_memory=10**7)
    assert caught.value.allowed == 10**7 < caught.value.needed < 4 * 10**9


def test_less_memory_fills_holes_from_closer_by(photo):
    large = np.asarray(Image.fromarray(photo()).resize((1600, 1200)))
    mask = np.zeros(large.shape[:2], bool)
    mask[600:604, 800:806] = True
    free = psal_cli.inpaint(large, mask, engine="patch")
    whole = memory_model.plan(psal_cli.image.arrays.split(large).header, {"output": "PNG"}, mask)
    result = psal_cli.inpaint(large, mask, engine="patch", max_memory=whole.bytes - 1)
    assert free.reach is None and whole.reach is None and 128 <= result.reach < 1600
    asked = psal_cli.inpaint(large, mask, engine="patch", reach=200, max_memory=whole.bytes)
    assert asked.reach == 200


def test_less_memory_searches_colours_at_a_smaller_size(photo, monkeypatch):
    from psal_cli.verbs.colorize import memory_model

    large = np.asarray(Image.fromarray(photo()).resize((1400, 200)))
    headers = [psal_cli.image.arrays.split(x).header for x in (large, photo())]
    plan = memory_model.plan(headers[0], headers[1:], {"output": "PNG"})
    seen = []
    result = psal_cli.colorize(large, [photo()], max_memory=plan.bytes - 1, progress=lambda *step: seen.append(step[1]))
    smaller = 2 * memory_model.COARSE
    assert result.confidence.shape[1] == smaller and any(f", {smaller}x" in text for text in seen)


# ------------------------------------------------------------------------------------------------------------------ threads


def drawn(make, seed):
    """A hole that the network draws, of a picture so large that its attention does not find every match."""
    picture = Image.fromarray(make()).resize((6 * SIZE[1], 6 * SIZE[0]))
    return psal_cli.inpaint(picture, np.kron(HOLE, np.ones((6, 6), bool)), engine="network", iterations=1, seed=seed)


CALLS = {
    "inpaint": lambda make: psal_cli.inpaint(make(), HOLE, seed=1),
    "outpaint": lambda make: psal_cli.outpaint(make(), psal_cli.Margins(right=6, bottom=4), seed=8),
    "network": lambda make: drawn(make, seed=2),
    "network again": lambda make: drawn(make, seed=3),
    "colorize": lambda make: psal_cli.colorize(make("L"), [make(number=1)], seed=1),
    "paper": lambda make: psal_cli.colorize(make("L"), [make(number=1)], engine="paper", attention="psal3", iterations=1, seed=5),
    "paper again": lambda make: psal_cli.colorize(
        make("L"), [make(number=1)], engine="paper", attention="psal3", iterations=1, seed=6
    ),
    "upscale": lambda make: psal_cli.upscale(make(), 2, seed=1),
    "upscale again": lambda make: psal_cli.upscale(make(number=1).swapaxes(0, 1), 2, seed=2),
    "generate": lambda make: psal_cli.generate(make(), method="psin", patch_size=5, seed=3),
    "reconstruct": lambda make: psal_cli.reconstruct(make(), make(number=1), iterations=1, seed=4),
}


def same(first, second):
    np.testing.assert_array_equal(first.image, second.image)
    if first.field is not None:
        np.testing.assert_array_equal(first.field.sources, second.field.sources)


@pytest.mark.slow
def test_two_threads_get_what_each_gets_alone(photo):
    alone = {name: call(photo) for name, call in CALLS.items()}
    for verb in ("paper", "network"):
        assert (alone[verb].image != alone[f"{verb} again"].image).any()  # the seed counts
    with ThreadPoolExecutor(2) as pool:
        for pair in combinations_with_replacement(CALLS, 2):
            start = Barrier(2)

            def run(name, start=start):
                start.wait()
                return [CALLS[name](photo) for _ in range(2)]

            for name, results in zip(pair, pool.map(run, pair), strict=True):
                for result in results:
                    same(result, alone[name])


def test_cached_networks_are_never_changed(photo):
    network = networks_for(2)[0]
    layers = [layer for layer in network.modules() if isinstance(layer, Pasting)]
    before = [(dict(vars(layer)), layer) for layer in layers]
    of_paper = paper.network_of("psal3")
    seed = of_paper.attention.seed
    of_inpaint = painter.network_of()
    searching = [layer for layer in of_inpaint.modules() if isinstance(layer, PSAttention)]
    seeds = [layer.seed for layer in searching]
    psal_cli.inpaint(photo(), HOLE, engine="network", seed=9)
    assert painter.network_of() is of_inpaint and seeds and [layer.seed for layer in searching] == seeds
    psal_cli.upscale(photo(), 2, seed=9)
    psal_cli.colorize(photo("L"), [photo(number=1)], engine="paper", attention="psal3", seed=9)
    assert networks_for(2)[0] is network and paper.network_of("psal3") is of_paper
    assert layers and all(vars(layer) == known for known, layer in before) and of_paper.attention.seed == seed
