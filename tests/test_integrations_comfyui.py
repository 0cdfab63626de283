"""The nodes for ComfyUI, on a stub of what they ask of it: its progress bar, its cancel button and its folder of models."""

import importlib.util
import json
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import psal_cli
from psal_cli.integrations import comfyui
from psal_cli.integrations.comfyui.nodes import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

SIZE = (24, 32)
TYPES = {"IMAGE", "MASK", "INT", "FLOAT", "BOOLEAN", "PSAL_FIELD"}


class InterruptProcessingException(Exception):  # noqa: N818
    """ComfyUI's."""


class Painter(torch.nn.Module):
    """What LaMa takes and gives."""

    def forward(self, image: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return image * (1 - mask) + mask / 2


class Host:
    """A ComfyUI: what its bar showed, and whether cancel was pressed."""

    def __init__(self, models):
        self.shown, self.cancelled, self.models = [], False, models

    def install(self, monkeypatch):
        host = self

        class ProgressBar:
            def __init__(self, total):
                self.total = total

            def update_absolute(self, value, total=None, preview=None):
                host.shown.append((value, total or self.total))

        def check():
            if host.cancelled:
                raise InterruptProcessingException

        comfy, utils, management, folders = map(ModuleType, ("comfy", "comfy.utils", "comfy.model_management", "folder_paths"))
        utils.ProgressBar, management.throw_exception_if_processing_interrupted = ProgressBar, check
        comfy.utils, comfy.model_management = utils, management
        folders.models_dir = str(self.models)
        folders.add_model_folder_path = lambda name, path: None
        folders.get_filename_list = lambda name: sorted(path.name for path in (self.models / name).iterdir())
        folders.get_full_path = lambda name, file: str(path) if (path := self.models / name / file).exists() else None
        for module in (comfy, utils, management, folders):
            monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def host(monkeypatch, tmp_path):
    (tmp_path / "inpaint").mkdir()
    host = Host(tmp_path)
    host.install(monkeypatch)
    return host


@pytest.fixture
def images(pair):
    """Two pictures as ComfyUI has them, [2, H, W, 3]."""
    return torch.cat(list(pair(64)))[:, :, : SIZE[0], : SIZE[1]].permute(0, 2, 3, 1).contiguous()


@pytest.fixture
def hole():
    mask = torch.zeros(1, *SIZE)
    mask[0, 8:13, 10:16] = 1
    return mask


def run(name, **given):
    """What a node returns, called as ComfyUI calls it: with the defaults of what is not given."""
    node = NODE_CLASS_MAPPINGS[name]
    values = {}
    for option, (kind, *more) in node.INPUT_TYPES()["required"].items():
        values[option] = more[0].get("default") if more and "default" in more[0] else kind[0] if isinstance(kind, list) else None
    returned = getattr(node(), node.FUNCTION)(**values | given)
    assert len(returned) == len(node.RETURN_TYPES) == len(node.RETURN_NAMES)
    return returned


def test_the_folder_is_found_as_a_custom_node(tmp_path):
    """As ComfyUI loads one: the file of the linked folder, under a name of ComfyUI's."""
    (tmp_path / "psal").symlink_to(comfyui.__path__[0])
    spec = importlib.util.spec_from_file_location("custom_nodes.psal", tmp_path / "psal/__init__.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.NODE_CLASS_MAPPINGS.keys() == module.NODE_DISPLAY_NAME_MAPPINGS.keys() == NODE_DISPLAY_NAME_MAPPINGS.keys()
    assert len(module.NODE_CLASS_MAPPINGS) == 5


@pytest.mark.parametrize("name", NODE_CLASS_MAPPINGS)
def test_inputs_are_what_comfyui_understands_and_the_function_takes_them(name, host):
    node = NODE_CLASS_MAPPINGS[name]
    inputs = node.INPUT_TYPES()
    given = {option: widget for group in inputs.values() for option, widget in group.items()}
    code = getattr(node, node.FUNCTION).__code__
    assert set(given) == set(code.co_varnames[1 : code.co_argcount]) and node.CATEGORY == "psal" and node.DESCRIPTION
    for kind, *more in given.values():
        assert (isinstance(kind, list) and all(kind)) or kind in TYPES
        assert all(isinstance(settings, dict) for settings in more)
    assert set(node.RETURN_TYPES) <= TYPES


def test_inpaint_fills_each_picture_of_a_batch_and_shows_how_far_it_is(host, images, hole):
    spoiled = torch.where(hole[..., None] > 0, 1.0, images)
    made, fields = run("PsalInpaint", image=spoiled, mask=hole, seed=3)
    assert made.shape == images.shape and made.dtype == torch.float32
    inside = hole[0].numpy() > 0
    for number in range(2):
        alone = psal_cli.inpaint(spoiled[number].numpy(), inside, seed=3)
        np.testing.assert_array_equal(made[number].numpy(), alone.image)
        np.testing.assert_array_equal(fields[number].sources, alone.field.sources)
    values = [value for value, _ in host.shown]
    assert values == sorted(values) and values[-1] > 1900 and {total for _, total in host.shown} == {2000}


def test_each_picture_has_a_mask_of_its_own_and_an_empty_one_leaves_it(host, images, hole):
    masks = torch.cat([hole, torch.zeros(1, *SIZE)])
    made, fields = run("PsalInpaint", image=images, mask=masks, engine="patch")
    assert (made[0] != images[0]).any() and (made[1] == images[1]).all() and fields[1] is None
    with pytest.raises(psal_cli.InvalidValueError, match="batch of 3, expected 1 or 2"):
        run("PsalInpaint", image=images, mask=hole.repeat(3, 1, 1))
    with pytest.raises(psal_cli.InvalidValueError, match="mask is 31x24, expected 32x24"):
        run("PsalInpaint", image=images, mask=hole[..., 1:])


def test_dilating_and_feathering_grow_the_mask(host, images, hole):
    changed = [
        (run("PsalInpaint", image=images[:1], mask=hole, engine="patch", **grow)[0][0] != images[0]).any(2)
        for grow in ({}, {"dilate": 2}, {"dilate": 2, "feather": 2})
    ]
    for less, more in pairwise(changed):
        assert more.sum() > less.sum() and not (less & ~more).any()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of TorchScript, which such files are
def test_a_painter_of_comfyuis_models_draws(host, images, hole):
    torch.jit.script(Painter()).save(str(host.models / "inpaint/own.pt"))
    assert NODE_CLASS_MAPPINGS["PsalInpaint"].INPUT_TYPES()["required"]["painter"][0] == ["none", "own.pt"]
    made, fields = run("PsalInpaint", image=images[:1], mask=hole, engine="network", painter="own.pt")
    expected = psal_cli.inpaint(
        images[0].numpy(), hole[0].numpy() > 0, engine="network", painter=str(host.models / "inpaint/own.pt")
    )
    np.testing.assert_array_equal(made[0].numpy(), expected.image)
    assert fields == [None]
    with pytest.raises(ValueError, match="no match field"):
        run("PsalDrawField", field=fields)
    with pytest.raises(FileNotFoundError, match="models/inpaint"):
        run("PsalInpaint", image=images, mask=hole, painter="other.pt")


def test_cancel_stops_with_comfyuis_own_exception(host, images, hole):
    host.cancelled = True
    for name, more in (
        ("PsalInpaint", {"mask": hole}),
        ("PsalColorize", {"references": images}),
        ("PsalUpscale", {}),
        ("PsalReconstruct", {"reference": images}),
    ):
        with pytest.raises(InterruptProcessingException):
            run(name, image=images, **more)


def test_the_other_verbs_are_those_of_the_library(host, images, quick_colours):
    first, second = (image.numpy() for image in images)
    made, fields = run("PsalColorize", image=images[:1].mean(3, keepdim=True), references=images[1:], seed=1)
    np.testing.assert_array_equal(made[0], psal_cli.colorize(first.mean(2), [second], seed=1).image)
    assert fields[0].source_size == (SIZE,)
    made, _ = run("PsalUpscale", image=images, scale=1.5, model="clean")
    assert made.shape == (2, 36, 48, 3)
    np.testing.assert_array_equal(made[1], psal_cli.upscale(second, 1.5, model="clean").image)
    made, fields = run("PsalReconstruct", image=images, reference=images[1:, :, :-4], k=1)
    np.testing.assert_array_equal(made[0], psal_cli.reconstruct(first, second[:, :-4], k=1).image)
    drawn = run("PsalDrawField", field=fields, over=images)[0]
    assert drawn.shape[0] == 2 and drawn.shape[3] == 3 and drawn.max() <= 1 and drawn.std() > 0.05
    expected = fields[1].draw(second)
    np.testing.assert_allclose(drawn[1], expected / np.float32(255))


def test_the_workflow_of_the_examples_fits_the_nodes(host):
    workflow = json.loads((Path(__file__).parents[1] / "examples/comfyui_workflow.json").read_text())
    ours = [node for node in workflow.values() if node["class_type"] in NODE_CLASS_MAPPINGS]
    assert {node["class_type"] for node in ours} == {"PsalInpaint", "PsalDrawField"}
    for node in ours:
        inputs = NODE_CLASS_MAPPINGS[node["class_type"]].INPUT_TYPES()
        assert inputs["required"].keys() <= node["inputs"].keys() <= {name for group in inputs.values() for name in group}
