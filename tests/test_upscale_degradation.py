"""Which model suits a picture: `psal_cli.verbs.upscale.degradation`, and the quality of JPEG files."""

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import psal_cli
from psal_cli.image.jpeg_quality import quality_of
from psal_cli.verbs.upscale.degradation import model_for

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def reduced():
    """A photograph that was reduced, and nothing else."""
    photo = Image.open(EXAMPLES / "dandelions.jpg").convert("RGB")
    return np.asarray(photo.resize((photo.width // 4, photo.height // 4), Image.Resampling.BICUBIC))


def compressed(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def noisy(pixels, sigma):
    noise = np.random.default_rng(0).normal(0, sigma, pixels.shape)
    return (pixels + noise).clip(0, 255).round().astype(np.uint8)


@pytest.mark.parametrize(
    ("degraded", "model"),
    [
        (lambda x: x, "clean"),
        (lambda x: cv2.GaussianBlur(x, (0, 0), 1), "clean"),  # a soft picture has nothing that a model could mistake for detail
        (lambda x: noisy(x, 1), "clean"),
        (lambda x: noisy(x, 5), "photo"),
        (lambda x: compressed(x, 97), "clean"),
        (lambda x: compressed(x, 60), "photo"),
    ],
    ids=["reduced", "soft", "a little noise", "noise", "well compressed", "strongly compressed"],
)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "grey"])
def test_the_model_follows_the_state_of_the_pixels(reduced, degraded, model, dtype):
    pixels = degraded(reduced)
    as_dtype = {
        "uint8": pixels,
        "uint16": pixels.astype(np.uint16) * 257,
        "float32": pixels.astype(np.float32) / 255,
        "grey": cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)[..., None],
    }
    assert model_for(as_dtype[dtype]) == model


def test_sharpened_pixels_are_for_photo():
    photo = np.asarray(Image.open(EXAMPLES / "pagoda.jpg").convert("RGB"))  # sharpened after it was reduced, then well compressed
    assert model_for(photo, lossless=False, quality=96) == "photo"
    assert model_for(cv2.GaussianBlur(photo, (0, 0), 0.6), lossless=False, quality=96) == "clean"


def test_a_file_of_low_quality_is_one_for_photo_however_its_pixels_look(reduced):
    assert model_for(reduced, lossless=False, quality=95) == "clean" and model_for(reduced, lossless=False, quality=80) == "photo"
    assert model_for(reduced, lossless=False) == "photo"  # a lossy file that does not say how lossy


@pytest.mark.slow
def test_large_pictures_are_judged_by_parts_of_all_of_them(reduced):
    large = np.tile(reduced, (3, 3, 1))
    assert model_for(large) == "clean" and model_for(noisy(large, 5)) == "photo"


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (9, 9)])
def test_tiny_and_flat_pictures_are_clean(size):
    assert model_for(np.full((*size, 3), 90, np.uint8)) == "clean"


@pytest.mark.parametrize("quality", [30, 60, 75, 90, 95])
def test_the_quality_of_a_file_is_the_one_it_was_saved_with(reduced, quality):
    file = io.BytesIO()
    Image.fromarray(reduced).save(file, "JPEG", quality=quality)
    assert abs(quality_of(Image.open(file).quantization) - quality) <= 1


@pytest.mark.slow
def test_the_library_says_which_model_it_took(reduced):
    part = np.ascontiguousarray(reduced[:64, :64])
    assert psal_cli.upscale(part, 2).model == "clean" and psal_cli.upscale(noisy(part, 8), 2).model == "photo"
    assert psal_cli.upscale(noisy(part, 8), 2, model="clean").model == "clean"
