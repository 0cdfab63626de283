"""ONNX files: free and fixed sizes, equal to the module that they were exported from, and what is refused."""

import numpy as np
import pytest
import torch
from torch import nn

import psal_cli
from psal_cli import errors
from psal_cli.foreign.protobuf import parameters
from psal_cli.verbs.upscale.networks import network_of

from .foreign_networks import Shuffled, architecture, export

FREE = (1, 3, 64, 64)


def picture(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def made_by(module, image):
    with torch.no_grad():
        out = module.eval()(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0]
    return (out.permute(1, 2, 0).clamp(0, 1).numpy() * 255).round().astype(np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["RealESRGAN Compact", "SPAN"])
@pytest.mark.parametrize("free", [True, False])
def test_an_export_gives_what_its_module_gives(tmp_path, name, free):
    module, image = architecture(name), picture(100, 130)
    path = export(tmp_path / "net.onnx", module, FREE, free=free)
    found = network_of(path)
    assert found.traits.reach is not None and (found.sizes.fixed is None) == free
    made, expected = psal_cli.upscale(image, weights=path).image, made_by(module, image)
    assert made.shape == expected.shape and np.abs(made.astype(int) - expected).max() <= 1  # a half may be rounded either way
    pieces = psal_cli.upscale(image, weights=path, strip_pixels=4096).image
    np.testing.assert_array_equal(pieces, made)


def test_what_a_file_says_of_itself_is_told(tmp_path):
    onnx = pytest.importorskip("onnx")
    path, module = export(tmp_path / "net.onnx", Shuffled(), FREE), Shuffled()
    model = onnx.load(path)
    entry = model.metadata_props.add()
    entry.key, entry.value = "license", "CC0-1.0"
    onnx.save(model, path)
    info = network_of(path).info
    assert info.licence == "CC0-1.0" and info.scale == 2 and "licence CC0-1.0" in info.text
    assert info.parameters == parameters(path.read_bytes()) == sum(x.numel() for x in module.parameters())


def test_grey_networks_draw_the_colours_apart(tmp_path):
    module, image = Shuffled(1), picture(40, 50)
    path = export(tmp_path / "net.onnx", module, (1, 1, 64, 64))
    made = psal_cli.upscale(image, weights=path).image
    for channel in range(3):
        one = torch.from_numpy(image[None, None, ..., channel].astype(np.float32) / 255)
        with torch.no_grad():
            expected = (module.eval()(one)[0, 0].clamp(0, 1).numpy() * 255).round()
        assert np.abs(made[..., channel] - expected).max() <= 1


def test_a_picture_that_is_smaller_than_a_fixed_size_is_continued(tmp_path):
    path = export(tmp_path / "net.onnx", Shuffled(), (1, 3, 64, 80), free=False)
    image = picture(30, 100)
    made, expected = psal_cli.upscale(image, weights=path).image, made_by(Shuffled(), image)
    assert made.shape == (60, 200, 3)
    assert np.abs(made.astype(int) - expected)[:50].max() <= 1  # below, the network sees reflections instead of a border


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 8, stride=8)

    def forward(self, image):
        return self.conv(image).flatten(2).transpose(1, 2)


class Inpainting(nn.Module):
    def forward(self, image, mask):
        return image * (1 - mask)


class Denoising(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, image):
        return self.conv(image)


REFUSED = {
    "four channels": (Shuffled(4), [(1, 4, 64, 64)], True, r"takes \[1, 4, any, any\], 4 channels: export it with \[1, 3,"),
    "a detector": (Detector(), [FREE], False, r"makes \[1, 64, 6\] of a picture .* so it is not a network for super-resolution"),
    "an inpainting network": (
        Inpainting(),
        [FREE, (1, 1, 64, 64)],
        True,
        "has inputs in0, in1 and outputs out: expected a network",
    ),
    "one that does not enlarge": (Denoising(), [FREE], True, "for the restoration of pictures at their own size: expected one"),
    "a size that is too small": (
        Shuffled(),
        [(1, 3, 24, 24)],
        False,
        r"\[1, 3, 24, 24\] only, which do not fit: export it with free",
    ),
    "several pictures": (Shuffled(), [(4, 3, 64, 64)], False, r"takes input of shape \[4, 3, 64, 64\]: expected \[1, 3, height"),
}


@pytest.mark.parametrize(("module", "shapes", "free", "message"), REFUSED.values(), ids=REFUSED)
def test_other_graphs_are_refused(tmp_path, module, shapes, free, message):
    path = export(tmp_path / "net.onnx", module, *shapes, free=free)
    with pytest.raises(errors.InputError, match=message) as caught:
        network_of(path)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_graph_is_refused(tmp_path):
    pytest.importorskip("onnxruntime")
    (tmp_path / "net.onnx").write_text("no graph")
    with pytest.raises(errors.InputError, match=r"net\.onnx is not an ONNX file that onnxruntime runs"):
        network_of(tmp_path / "net.onnx")


def test_without_onnxruntime_the_cure_is_named(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").write_text("no graph")
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(errors.InputError, match=r"pip install 'psal\[onnx\]'"):
        network_of(tmp_path / "net.onnx")
