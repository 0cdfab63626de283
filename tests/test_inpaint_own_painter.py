"""Painters of the user's: TorchScript, ONNX and Python functions, with small networks of the interfaces of LaMa and MI-GAN."""

import logging
import sys
import warnings
import zipfile
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import psal_cli
from psal_cli import InputError, InvalidValueError
from psal_cli.foreign import painters, spandrel_files
from psal_cli.verbs.inpaint.options import InpaintOptions
from psal_cli.verbs.inpaint.own_painter import OwnPainter, own_painter, views

from .photos import lines, psal
from .pictures import pixels_of

# torch would have everyone leave TorchScript, which is what the files are
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SIZE = (96, 128)  # height, width
HOLE = np.s_[40:56, 50:70]
PINK = (1.0, 0.5, 0.75)  # what the networks here draw


class Lama(nn.Module):
    """As big-lama.pt: a picture in [0, 1] and a mask, 1 = fill, sides multiples of 8."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        assert image.shape[2] % 8 == 0 and image.shape[3] % 8 == 0 and float(image.max()) <= 1
        pink = torch.tensor([1.0, 0.5, 0.75]).reshape(1, 3, 1, 1)
        return image * (1 - mask) + pink * mask


class LamaGraph(nn.Module):
    """As LaMa in ONNX: the same with an output from 0 to 255."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        pink = torch.tensor([255.0, 127.5, 191.25]).reshape(1, 3, 1, 1)
        return 255 * image * (1 - mask) + pink * mask


class MiganGraph(nn.Module):
    """As the pipelines of MI-GAN: bytes, and a mask that is 255 where the picture is known."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        known = mask.to(torch.float32) / 255
        pink = torch.tensor([255.0, 127.5, 191.25]).reshape(1, 3, 1, 1)
        return (image.to(torch.float32) * known + pink * (1 - known)).to(torch.uint8)


@pytest.fixture
def photo():
    rows, columns = np.indices(SIZE)
    return np.stack([rows, columns, (rows + columns) % 32 * 4], 2).astype(np.uint8)


@pytest.fixture
def mask():
    hole = np.zeros(SIZE, bool)
    hole[HOLE] = True
    return hole


def exported(network, path, side=None, dtype=torch.float32):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    size = side or 64
    inputs = (torch.zeros((1, 3, size, size), dtype=dtype), torch.zeros((1, 1, size, size), dtype=dtype))
    free = None if side else {name: {2: "height", 3: "width"} for name in ("image", "mask")}
    names = {"input_names": ["image", "mask"], "output_names": ["result"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(network, inputs, str(path), **names, dynamic_axes=free, dynamo=False)


@pytest.fixture(params=["torchscript", "onnx-fixed", "onnx-bytes"])
def file(request, tmp_path):
    """A painter in a file of each kind."""
    if request.param == "torchscript":
        path = tmp_path / "big-lama.pt"
        torch.jit.script(Lama()).save(str(path))
        return path
    path = tmp_path / f"{request.param}.onnx"
    if request.param == "onnx-fixed":
        exported(LamaGraph(), path, 72)
    else:
        exported(MiganGraph(), path, dtype=torch.uint8)
    return path


def test_every_kind_of_file_draws_in_the_hole_and_nothing_else_changes(file, photo, mask):
    result = psal_cli.inpaint(photo, mask, engine="network", painter=str(file))
    np.testing.assert_array_equal(result.image[~mask], photo[~mask])
    np.testing.assert_allclose(result.image[mask] / 255, np.broadcast_to(PINK, (320, 3)), atol=0.02)
    assert result.field is None and result.device == "cpu"


def test_patches_follow_what_a_painter_draws():
    """Between two textures, which the grey around the hole does not choose from: that which the painter draws is copied."""
    rng = np.random.default_rng(0)
    photo = np.full((160, 320, 3), 128, np.uint8)
    photo[:, 240:] = rng.integers(180, 220, (160, 80, 3))
    photo[:, :80] = rng.integers(30, 70, (160, 80, 3))
    mask = np.zeros((160, 320), bool)
    mask[50:110, 130:190] = True

    def paint(value):
        return lambda image, hole: np.where(hole[..., None], np.float32(value), image)

    shares = []
    for value in (0.8, 0.2):
        result = psal_cli.inpaint(photo, mask, painter=paint(value), blend=False)
        centre = result.field.sources[0, 1, 70:90, 150:170]
        shares.append(((centre >= 240).mean(), (centre < 80).mean()))
        row, column = result.origins.T
        np.testing.assert_array_equal(result.image[mask], photo[row, column])
    (bright, none), (nothing, dark) = shares
    assert min(bright, dark) > 0.2 and max(none, nothing) < 0.02


def test_a_function_sees_the_picture_black_in_the_hole_at_its_size(photo, mask):
    seen = []

    def paint(image, hole):
        seen.append((image.copy(), hole.copy()))
        return np.ones_like(image)

    known = np.where(mask[..., None], 0, photo).astype(np.float32) / 255
    assert (OwnPainter(paint, 512)(known, mask) == 1).all()
    np.testing.assert_array_equal(seen[0][0], known)
    np.testing.assert_array_equal(seen[0][1], mask)
    large, hole = np.repeat(np.repeat(known, 4, 0), 4, 1), np.repeat(np.repeat(mask, 4, 0), 4, 1)
    drawn = OwnPainter(paint, 64)(large, hole)
    image, gap = seen[1]
    assert max(image.shape[:2]) == 64 and gap.any() and not image[gap].any() and drawn.shape == (320 * 16, 3)


def test_parts_far_apart_are_drawn_one_by_one_at_their_own_size(mask):
    hole = np.zeros((400, 2000), bool)
    hole[100:120, 100:130] = hole[300:310, 1700:1720] = True
    seen = views(hole, 256)
    assert len(seen) == 2 and all(max(bottom - top, right - left) <= 256 + 2 for top, bottom, left, right in seen)


def test_grey_pictures_get_grey_fills(photo, mask):
    result = psal_cli.inpaint(photo[..., 0], mask, engine="network", painter=lambda image, hole: image * 0 + np.float32(PINK))
    assert (result.image[mask] == 191).all()


def test_a_torchscript_file_is_warned_of_and_others_are_refused(tmp_path, photo, mask, caplog):
    path = tmp_path / "lama.pt"
    torch.jit.script(Lama()).save(str(path))
    with caplog.at_level(logging.WARNING):
        own_painter(InpaintOptions(painter=str(path)))
    assert "carries code" in caplog.text
    weights = tmp_path / "weights.pt"
    torch.save({"layer.weight": torch.zeros(3)}, weights)
    with zipfile.ZipFile(tmp_path / "broken.pt", "w") as archive:
        archive.writestr("broken/constants.pkl", b"")
    for name, words in (("weights.pt", ""), ("broken.pt", "not a TorchScript file"), ("missing.pt", "no such file")):
        with pytest.raises(InputError) as caught:
            psal_cli.inpaint(photo, mask, painter=str(tmp_path / name))
        assert name in str(caught.value) and words in str(caught.value)


def test_options_that_do_not_fit_a_painter_are_refused(tmp_path, photo, mask):
    for options, what in (
        ({"engine": "patch", "painter": "a.pt"}, "painter"),
        ({"weights": "b.pt", "painter": "a.pt"}, "painter"),
        ({"painter_size": 512}, "painter_size"),
        ({"painter": "a.pt", "painter_size": 16}, "painter_size"),
    ):
        with pytest.raises(InvalidValueError) as caught:
            InpaintOptions(**options)
        assert caught.value.what == what
    with pytest.raises(InvalidValueError, match=r"one that draws \[2, 2\]"):
        psal_cli.inpaint(photo, mask, engine="network", painter=lambda image, hole: np.zeros((2, 2)))
    exported(LamaGraph(), tmp_path / "fixed.onnx", 72)
    with pytest.raises(InputError, match="72 pixels only"):
        psal_cli.inpaint(photo, mask, painter=str(tmp_path / "fixed.onnx"), painter_size=128)


def test_a_network_that_spandrel_calls_one_for_masks_is_given_the_mask(tmp_path, photo, mask, monkeypatch):
    from psal_cli.foreign.info import ENLARGES, INPAINTS, NetworkInfo
    from psal_cli.foreign.network import Sizes

    path = tmp_path / "lama.safetensors"
    path.write_bytes(b"")
    monkeypatch.setattr(painters.stored, "load_file", lambda path: {})
    task = INPAINTS
    monkeypatch.setattr(
        painters.spandrel_files, "load", lambda *given: (Lama(), NetworkInfo("lama", "LaMa", task, 1, 9), Sizes(16, 16), 3)
    )
    result = psal_cli.inpaint(photo, mask, engine="network", painter=str(path))
    np.testing.assert_allclose(result.image[mask] / 255, np.broadcast_to(PINK, (320, 3)), atol=0.02)
    path.write_bytes(b"another")
    task = ENLARGES
    with pytest.raises(InputError, match="expected one for inpainting"):
        psal_cli.inpaint(photo, mask, painter=str(path))


@pytest.mark.slow
def test_architectures_of_spandrels_second_package_are_known_where_it_is_installed(tmp_path, photo, mask, monkeypatch):
    """As MAT, whose licence keeps it out of spandrel itself."""
    with spandrel_files._imported("spandrel") as spandrel:
        from spandrel.util import KeyCondition

    class Pink(nn.Module):
        def __init__(self):
            super().__init__()
            self.pink = nn.Parameter(torch.zeros(3))

        def forward(self, image, mask):
            return image * (1 - mask) + self.pink.reshape(1, 3, 1, 1) * mask

    class PinkArch(spandrel.Architecture):
        def __init__(self):
            super().__init__(id="Pink", detect=KeyCondition.has_all("pink"))

        def load(self, state_dict):
            sizes = spandrel.SizeRequirements(minimum=128, multiple_of=128, square=True)
            shape = {"input_channels": 3, "output_channels": 3, "size_requirements": sizes}
            return spandrel.MaskedImageModelDescriptor(
                Pink(), state_dict, self, purpose="Inpainting", tags=[], supports_half=True, supports_bfloat16=True, **shape
            )

    torch.save({"pink": torch.tensor(PINK)}, tmp_path / "mat.pth")
    with pytest.raises(InputError, match="is not a network that psal or spandrel knows"):
        psal_cli.inpaint(photo, mask, painter=str(tmp_path / "mat.pth"))
    second = ModuleType("spandrel_extra_arches")
    second.EXTRA_REGISTRY = spandrel.ArchRegistry()
    second.EXTRA_REGISTRY.add(spandrel.ArchSupport.from_architecture(PinkArch()))
    monkeypatch.setitem(sys.modules, second.__name__, second)
    result = psal_cli.inpaint(photo, mask, engine="network", painter=str(tmp_path / "mat.pth"))
    np.testing.assert_allclose(result.image[mask] / 255, np.broadcast_to(PINK, (320, 3)), atol=0.02)
    assert "Pink" not in spandrel.MAIN_REGISTRY


def test_the_command_takes_a_painter(tmp_path, photo, mask, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Image.fromarray(photo).save("photo.png")
    Image.fromarray(mask).save("mask.png")
    torch.jit.script(Lama()).save("own.pt")
    given = ("inpaint", "photo.png", "--mask", "mask.png", "--painter", "own.pt", "-o", "out.png")
    done = psal(*given, "--engine", "network", "--painter-size", 64)
    assert done.exit_code == 0 and "carries code" in done.stderr, done.stderr
    np.testing.assert_allclose(pixels_of("out.png")[mask] / 255, np.broadcast_to(PINK, (320, 3)), atol=0.02)
    for options, words in (
        (("--engine", "patch"), "--painter requires --engine"),
        (("--weights", "x.pt"), "--painter is own.pt"),
    ):
        done = psal(*given, *options, "--force")
        assert done.exit_code == 2 and words in done.stderr, done.stderr


def test_painters_in_the_model_folder_are_listed_without_running_them_and_found(tmp_path, photo, mask, monkeypatch, caplog):
    monkeypatch.setenv("PSAL_MODELS", str(tmp_path))
    torch.jit.script(Lama()).save(str(tmp_path / "script.pt"))
    exported(LamaGraph(), tmp_path / "graph.onnx", 64)
    done = psal("models", "--json")
    rows = {row["name"]: row for row in lines(done)}
    assert [rows[name]["task"] for name in ("script.pt", "graph.onnx")] == ["inpainting"] * 2
    assert [rows[name]["architecture"] for name in ("script.pt", "graph.onnx")] == ["TorchScript", "ONNX"]
    assert "carries code" not in caplog.text + done.stderr
    result = psal_cli.inpaint(photo, mask, engine="network", painter="graph")
    np.testing.assert_allclose(result.image[mask] / 255, np.broadcast_to(PINK, (320, 3)), atol=0.02)
