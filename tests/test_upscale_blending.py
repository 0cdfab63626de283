"""`psal_cli.upscale(strength=...)`: the blend of both models, in every depth, and what is told meanwhile."""

import numpy as np
import pytest

import psal_cli
from psal_cli.verbs.upscale import blending


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_each_channel_lies_where_the_strength_says(dtype, monkeypatch):
    monkeypatch.setattr(blending, "BAND", 64)  # several bands
    rng, white = np.random.default_rng(0), 255 if dtype == np.uint8 else 65535
    clean, photo = (rng.integers(0, white, (9, 7, 3), endpoint=True).astype(dtype) for _ in range(2))
    wanted = 0.25 * photo.astype(float) + 0.75 * clean.astype(float)
    blending.blend_into(clean, photo, 0.25)
    assert clean.dtype == dtype and np.abs(clean - wanted).max() < (0.51 if dtype != np.float32 else 0.01)


@pytest.mark.slow
def test_a_blend_is_that_of_two_whole_results_and_its_progress_goes_on_from_one_to_the_other():
    picture = np.random.default_rng(0).random((12, 16, 4), np.float32) * 1.5
    shares = []
    blend = psal_cli.upscale(picture, 6, strength=0.25, progress=lambda share, text: shares.append(share))
    clean, photo = (psal_cli.upscale(picture, 6, model=model) for model in ("clean", "photo"))
    np.testing.assert_allclose(blend.image, 0.75 * clean.image + 0.25 * photo.image, atol=1e-6)
    assert (blend.model, blend.image.shape) == ("blend", (72, 96, 4))
    np.testing.assert_array_equal(blend.field.sources, clean.field.sources)
    assert shares == sorted(shares) and shares[-1] == 1 and sum(share < 0.5 for share in shares) > 3
