"""Where a network ran: results and records of --json name the device that did the work, not the one that was asked for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from psal_cli.commands import devices
from psal_cli.memory_fallback import RunMode
from psal_cli.verbs.inpaint import guide, painter
from psal_cli.verbs.upscale import networks, upscaler

from .photos import lines, psal


@pytest.fixture(params=["fits", "short"])
def gpu(request, tmp_path, monkeypatch):
    """Makes "cuda:0" of the CPU, with memory enough for the networks or too little. Gives the device that does the work."""
    monkeypatch.chdir(tmp_path)
    picture = np.indices((48, 64)).sum(0).astype(np.uint8) % 8 * 30
    Image.fromarray(picture).save("photo.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[14:34, 20:42] = 255
    Image.fromarray(mask).save("mask.png")
    monkeypatch.setattr(devices, "choose_device", lambda name: ("cuda:0", "the first CUDA device"))
    for_inpaint, for_upscale = painter.painting_network, networks._cached
    for module in (guide, painter):
        monkeypatch.setattr(module, "painting_network", lambda chosen: for_inpaint(replace(chosen, device="cpu")))
    describing = guide.describing_network
    monkeypatch.setattr(guide, "describing_network", lambda source, _: describing(source, "cpu"))
    monkeypatch.setattr(networks, "_cached", lambda *given: for_upscale(*given[:-1], "cpu"))
    for drawer, name in ((guide.FeatureGuide, "_described"), (painter.Painter, "_drawn"), (upscaler.Upscaler, "_drawn")):
        drawn = getattr(drawer, name)

        def drawn_here(self, *given, drawn=drawn):
            mode = next(x for x in given if isinstance(x, RunMode))
            if mode.device != "cpu" and request.param == "short":
                raise torch.OutOfMemoryError
            return drawn(self, *(RunMode("cpu", False, mode.largest) if x is mode else x for x in given))

        monkeypatch.setattr(drawer, name, drawn_here)
    return {"fits": "cuda:0", "short": "cpu"}[request.param]


@pytest.mark.parametrize(
    "command",
    [["inpaint", "--mask", "mask.png", "--engine", "network"], ["inpaint", "--mask", "mask.png"], ["upscale", "-x", "2"]],
    ids=["inpaint by the network", "inpaint with a guide", "upscale"],
)
def test_json_names_the_device_that_did_the_work(gpu, command):
    verb, *more = command
    done = psal(verb, "photo.png", *more, "-o", "out.png", "--json")
    assert done.exit_code == 0, done.stderr
    assert lines(done)[0]["device"] == gpu
    assert ("now on cpu" in done.stderr) == (gpu == "cpu")


def test_a_narrow_hole_needs_no_network_so_that_all_of_it_is_on_the_cpu(gpu):
    mask = np.zeros((48, 64), np.uint8)
    mask[20:30, 24:36] = 255
    Image.fromarray(mask).save("mask.png")
    done = psal("inpaint", "photo.png", "--mask", "mask.png", "-o", "out.png", "--json")
    assert lines(done)[0]["device"] == "cpu", done.stderr
