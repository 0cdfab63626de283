"""Drawing by a network: the same as the whole network, whatever is left out, for any number of threads and with little memory."""

import numpy as np
import pytest
import torch

from psal_cli import weights
from psal_cli.errors import InputError
from psal_cli.memory_fallback import RunMode
from psal_cli.networks.contextual_attention import InpaintingNetwork
from psal_cli.patchmatch.regions import area
from psal_cli.verbs.inpaint import painter
from psal_cli.verbs.inpaint.options import ATTENTIONS
from psal_cli.verbs.inpaint.painter import Painter, attention_of, network_of, pieces


@pytest.fixture
def known():
    """float32 [H, W, 3], with some texture."""
    coarse = torch.rand(1, 3, 60, 80)
    return torch.nn.functional.interpolate(coarse, (413, 618), mode="bilinear")[0].permute(1, 2, 0).numpy().copy()


@pytest.fixture
def hole(known):
    """Two parts far from each other, one at the border."""
    hole = np.zeros(known.shape[:2], bool)
    hole[30:50, 40:75] = hole[390:, 560:600] = True
    return hole


def made(attention="psal", **options):
    return InpaintingNetwork(4, attention_of(attention), **options).eval().requires_grad_(False)


def whole(network, known, hole):
    """What the network makes of all of the picture."""
    with torch.no_grad():
        mask = torch.from_numpy(hole.astype(np.float32))[None, None]
        return (
            network(torch.from_numpy(known).permute(2, 0, 1)[None] * 2 - 1, mask)[1][0].permute(1, 2, 0).numpy()[hole] / 2 + 0.5
        )


@pytest.mark.slow
@pytest.mark.parametrize(("attention", "fill"), [*((name, "diffused") for name in ATTENTIONS), ("psal", "zeros")])
def test_what_is_drawn_around_the_hole_is_what_the_whole_network_draws(known, hole, attention, fill, monkeypatch):
    monkeypatch.setattr(painter, "CELL", 64)
    drawer = made(attention, fill=fill)
    right = whole(drawer, known, hole)
    for largest in (1 << 21, 1 << 15):
        np.testing.assert_allclose(Painter(drawer, largest=largest)(known, hole), right, atol=1e-5)
    assert right.std() > 0.01


def test_only_what_a_hole_needs_is_drawn(hole):
    padded = np.pad(hole, ((0, 3), (0, 6)))
    parts = [view for _, view in pieces(padded, 1 << 21)]
    assert len(parts) == 2 and sum(map(area, parts)) < 0.7 * padded.size
    for core, view in pieces(padded, 1 << 12):
        assert all(side % 8 == 0 for side in (*core, *view))
    scratch = np.eye(2048, dtype=bool)
    assert sum(area(view) for _, view in pieces(scratch, 1 << 23)) < 0.8 * scratch.size


@pytest.mark.slow
def test_the_same_pixels_for_any_number_of_threads(known, hole):
    before, results = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3, 8):
            torch.set_num_threads(count)
            results.append(Painter(made_once(known))(known, hole))
    finally:
        torch.set_num_threads(before)
    assert all(np.array_equal(results[0], other) for other in results[1:])


def made_once(known):
    torch.manual_seed(1)
    return made(fill="diffused", residual=True)


def test_grey_pictures_are_drawn_in_one_channel(known, hole):
    grey = known.mean(2, keepdims=True)
    drawer = made()
    right = Painter(drawer)(grey.repeat(3, 2), hole).mean(1, keepdims=True)
    np.testing.assert_allclose(Painter(drawer)(grey, hole), right, atol=1e-6)


@pytest.mark.slow
def test_without_memory_a_smaller_mode_is_taken_and_said(known, hole, monkeypatch, caplog):
    drawer, tried = made(), []
    drawing = Painter(drawer)
    right = drawing(known, hole)
    small = RunMode("cpu", False, 1 << 15)
    drawing.modes = [RunMode("cpu", True, 1 << 21), small]
    drawn = drawing._drawn

    def starved(image, mask, mode):
        tried.append(mode)
        if mode.half:
            raise torch.OutOfMemoryError
        return drawn(image, mask, mode)

    monkeypatch.setattr(drawing, "_drawn", starved)
    np.testing.assert_allclose(drawing(known, hole), right, atol=1e-5)
    assert drawing.device == "cpu"
    assert tried[-1] == small and caplog.messages == [
        "the network does not fit into the memory of cpu: now on cpu, full precision, 32768 pixels at a time"
    ]
    drawing.modes = drawing.modes[:1]
    with pytest.raises(torch.OutOfMemoryError):
        drawing(known, hole)


def test_a_gpu_falls_back_to_half_precision_then_to_small_pieces_then_to_the_cpu():
    modes = Painter(made(), "cuda:0").modes
    assert [(mode.device, mode.half) for mode in modes] == [("cuda:0", False), ("cuda:0", True), ("cuda:0", True), ("cpu", False)]
    assert modes[2].largest < modes[1].largest


def test_a_published_checkpoint_loads_strictly_and_without_options(tmp_path):
    torch.save(InpaintingNetwork().state_dict(), tmp_path / "gen_00430000.pt")
    network = network_of("original", str(tmp_path / "gen_00430000.pt"))
    assert (network.fill, network.residual) == ("zeros", False)
    assert network.fine_generator.contextul_attention.normalisation == "maximum"
    state = InpaintingNetwork(16).state_dict()
    torch.save(state, tmp_path / "narrow.pt")
    with pytest.raises(InputError, match=r"narrow.pt does not fit InpaintingNetwork: it has .* is \[16\], expected \[32\]"):
        network_of("original", str(tmp_path / "narrow.pt"))


def test_weights_that_ship_are_what_their_metadata_say():
    _, recipe = weights.resolve(painter.WEIGHTS)
    network = network_of()
    assert (network.fill, network.residual) == (recipe["fill"], recipe["residual"])
    assert network.coarse_generator.conv1.conv.out_channels == recipe["width"]
