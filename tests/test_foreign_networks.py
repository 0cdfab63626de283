"""Networks of other architectures: loaded, probed, run in pieces with the result of the whole, refused."""

import os
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import psal_cli
from psal_cli import errors, memory
from psal_cli.foreign import files, spandrel_files, tiling, traits
from psal_cli.foreign.network import ForeignNetwork, Sizes
from psal_cli.foreign.reach import EQUAL, reach_of
from psal_cli.verbs.upscale.networks import network_of

from .foreign_networks import BOUNDED, MADE, Shuffled, architecture, write


def noise(height, width):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3))


def picture(height=70, width=90):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture
def loaded(tmp_path):
    return lambda name, **changes: network_of(write(tmp_path / f"{name}.pth", name, **changes))


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_every_architecture_is_recognised_and_gives_what_spandrel_gives(loaded, name):
    found = loaded(name)
    assert isinstance(found, ForeignNetwork) and (found.info.architecture, found.scale) == (name, MADE[name][2])
    own = architecture(name)
    assert found.info.parameters == sum(x.numel() for x in own.parameters())
    image = noise(48, 40)
    with spandrel_files._imported(name) as spandrel, torch.no_grad():
        expected = spandrel.ModelLoader().load_from_state_dict(own.state_dict())(image.clone())
        torch.testing.assert_close(found(image).clamp(0, 1), expected, rtol=0, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", BOUNDED)
def test_pieces_give_the_result_of_the_whole(loaded, name):
    found = loaded(name)
    assert found.traits.reach is not None and reach_of(found, gradients=False)[0] is not None
    image = noise(2 * found.traits.reach + 70, 2 * found.traits.reach + 90)
    plan = found.tiling(*image.shape[2:], 4096)
    assert len(plan.rows) > 1 and len(plan.columns) > 1 and not plan.blended
    with torch.no_grad():
        whole = found(image)
        parts = torch.cat(list(found.pieces(image, 4096)), 2)
    assert float((parts - whole).abs().max()) <= EQUAL * max(1.0, float(whole.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MADE.keys() - set(BOUNDED)))
def test_networks_that_look_at_the_whole_picture_are_found_out(loaded, name):
    found = loaded(name)
    assert found.traits.reach is None
    if name != "HAT":  # whose pooling moves no pixel by 1e-5 while its weights are random
        assert reach_of(found, gradients=False)[0] is None


def test_the_reach_is_not_less_than_what_counts():
    module = Shuffled().eval()  # it looks 3 pixels around each
    found = files.of_module(module)
    assert 3 <= found.traits.reach <= 6 and found.traits.period == 1


def test_a_grid_is_found_and_kept():
    class Blocks(torch.nn.Module):
        """Each block of 8x8 pixels becomes its mean."""

        def forward(self, image):
            mean = torch.nn.functional.avg_pool2d(image, 8)
            return torch.nn.functional.interpolate(mean, scale_factor=16)

    found = files.of_module(Blocks().eval())
    found.sizes = Sizes(8, 8)
    assert found.traits.period == 8 and found.traits.reach % 8 == 0
    image = noise(80, 96)
    parts = torch.cat(list(found.pieces(image, 1500)), 2)
    assert len(found.tiling(80, 96, 1500).rows) > 1
    torch.testing.assert_close(parts, found(image))


def test_blended_pieces_of_a_smooth_picture_show_no_seam():
    class Mean(torch.nn.Module):
        """Adds a little of the mean of all that it sees: pieces differ in brightness."""

        def forward(self, image):
            return torch.nn.functional.interpolate(image + 0.2 * image.mean((2, 3), keepdim=True), scale_factor=2.0)

    found = files.of_module(Mean().eval())
    assert found.traits.reach is None
    ramp = torch.linspace(0, 1, 200).expand(1, 3, 150, 200)
    plan = found.tiling(150, 200, 4096)
    assert plan.blended and len(plan.rows) > 1 and len(plan.columns) > 1
    out = torch.cat(list(found.pieces(ramp, 4096)), 2)
    assert out.shape == (1, 3, 300, 400)
    steps = out[0, 0].diff(dim=1)[:, 1::2].abs()  # between neighbours that were two pixels
    hard = 0.2 * 50 / 200  # what a seam would add to a step: the pieces' means differ by as much
    assert float(steps.max()) < 1 / 199 + hard / 4 and float(out[0, 0].diff(dim=0).abs().max()) < hard / 4


def test_weights_of_ones_stay_ones_where_pieces_are_blended():
    class Same(torch.nn.Module):
        def forward(self, image):
            return torch.nn.functional.interpolate(image, scale_factor=3.0) + 0 * image.mean()

    found = files.of_module(Same().eval())
    found.__dict__["traits"] = traits.Traits(None, 1, ((1, 1),), 1.0, 0.0)
    image = noise(130, 171)
    torch.testing.assert_close(torch.cat(list(found.pieces(image, 4096)), 2), found(image))


@pytest.mark.parametrize("side", [97, 120, 300, 500, 1000])  # overlaps as narrow as the blend, and wider ones
def test_the_weights_of_blended_pieces_add_up_to_one(side):
    spans = tiling.tiling(100, side, 96 * 96, traits.Traits(None, 1, ((1, 1),), 1.0, 0.0)).columns
    total = torch.zeros(2 * side)
    for span, weight in zip(spans, tiling.ramps(spans, 2, total), strict=True):
        total[2 * span.first : 2 * span.last] += weight
    assert len(spans) > 1
    torch.testing.assert_close(total, torch.ones(2 * side))


@pytest.mark.slow
def test_blended_pieces_begin_on_the_grid_of_windows(loaded):
    found, image = loaded("HAT"), noise(200, 230)
    plan = found.tiling(200, 230, 9216)
    assert plan.blended and not plan.whole and all(x.first % 16 == 0 for x in (*plan.rows, *plan.columns))
    assert (plan.rows[-1].last, plan.columns[-1].last) == (200, 230)
    with torch.no_grad():
        parts = torch.cat(list(found.pieces(image, 9216)), 2)
        assert float((parts - found(image)).abs().max()) < 0.01  # off the grid it is ten times as much


def test_a_network_that_changes_its_input_does_not_change_the_picture(loaded):
    found, image = loaded("RCAN"), noise(32, 32)
    before = image.clone()
    with torch.no_grad():
        found(image)
    assert torch.equal(image, before)


def test_what_was_measured_is_kept(tmp_path, monkeypatch):
    path = write(tmp_path / "net.pth", "RealESRGAN Compact", 1)
    first = network_of(path).traits
    monkeypatch.setattr(traits, "_measured", lambda network: pytest.fail("it is measured again"))
    again = network_of(path.rename(tmp_path / "renamed.pth")).traits
    assert again == first
    (kept,) = [x for x in traits.cache_folder().iterdir() if x.stem == network_of(tmp_path / "renamed.pth").info.sha256]
    kept.write_text("{}")
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        network_of(tmp_path / "renamed.pth", attention="full").traits  # noqa: B018


def test_a_file_that_is_written_again_is_loaded_again(tmp_path):
    path = write(tmp_path / "net.pth", "RealESRGAN Compact", 1)
    first = network_of(path)
    assert network_of(path) is first
    write(path, "RealESRGAN Compact", 2, num_conv=2)
    assert network_of(path) is not first


@pytest.mark.slow
def test_the_plan_covers_what_is_taken_and_pieces_take_less(tmp_path, monkeypatch):
    monkeypatch.undo()  # the true memory of this process
    found = network_of(write(tmp_path / "net.pth", "ESRGAN"))
    image = noise(600, 600)
    taken = {}
    for largest in (360_000, 65_536):
        planned = found.traits.bytes(found.tiling(600, 600, largest).looked)
        memory.give_back()
        memory.reset_peak()
        before = memory.resident()
        with torch.no_grad():
            for part in found.pieces(image, largest):
                del part
        taken[largest] = memory.peak() - before
        assert taken[largest] < planned + 90_000_000, largest  # oneDNN and the allocator keep some of what tests before took
    assert taken[65_536] < taken[360_000] / 2


def test_a_module_of_the_callers_gives_what_it_makes_of_the_picture():
    module, image = Shuffled().eval(), picture()
    with torch.no_grad():
        own = module(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)[0].permute(1, 2, 0).clamp(0, 1)
    expected = (own.numpy() * 255).round().astype(np.uint8)
    np.testing.assert_array_equal(psal_cli.upscale(image, weights=module).image, expected)
    np.testing.assert_array_equal(psal_cli.upscale(image, 2, weights=module, strip_pixels=4096).image, expected)
    assert psal_cli.upscale(image, 4, weights=module).image.shape == (280, 360, 3)


def test_a_module_that_has_learnt_since_is_measured_anew():
    module, image = Shuffled().eval(), picture()
    with torch.no_grad():
        far = module.first.weight.clone()
        module.first.weight[..., [0, 1, 3, 4]] = 0
        module.first.weight[..., [0, 1, 3, 4], :] = 0
    near = network_of(module).traits.reach
    assert network_of(module) is network_of(module)
    with torch.no_grad():
        module.first.weight.copy_(far)
        module.last.bias += 0.5
    assert network_of(module).traits.reach > near
    whole = psal_cli.upscale(image, weights=module).image
    np.testing.assert_array_equal(psal_cli.upscale(image, weights=module, strip_pixels=4096).image, whole)


class Harmful:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def pickled(path):
    path.write_bytes(pickle.dumps(Harmful()))


def scripted(path):
    torch.jit.script(torch.nn.Conv2d(3, 3, 3)).save(path)


REFUSED = {
    "code": ("net.pth", lambda path: torch.save({"params": Harmful()}, path), r"net.pth holds pickled code \(posix.mkdir\)"),
    "bare code": (
        "net.pth",
        pickled,
        r"net.pth holds pickled code \(posix.mkdir\)|net.pth is damaged or holds more than tensors",
    ),
    "a whole module": (
        "net.pt",
        lambda path: torch.save(torch.nn.Conv2d(3, 3, 3), path),
        "pickled code .torch.nn.modules.conv.Conv2d",
    ),
    "TorchScript": ("net.pt", scripted, "net.pt is TorchScript, a program, which psal does not run: save model.state_dict"),
    "text": ("net.pth", lambda path: path.write_text("no network"), "net.pth is damaged or holds more than tensors"),
    "an unknown architecture": (
        "net.safetensors",
        lambda path: save_file({"fc.weight": torch.zeros(2, 2)}, path),
        "net.safetensors is not a network that psal or spandrel knows: give another file, or export it",
    ),
    "NaN": (
        "net.pth",
        lambda path: torch.save({k: x * np.nan for k, x in architecture("SAFMN").state_dict().items()}, path),
        "contains NaN or infinity in",
    ),
    "half a network": (
        "net.pth",
        lambda path: torch.save({k: x for k, x in architecture("SAFMN").state_dict().items() if "to_img" not in k}, path),
        "net.pth (is not a network|does not fit)",
    ),
    "no file": ("other.pth", lambda path: None, "net.pth: no such file"),
}


@pytest.mark.filterwarnings("ignore:.*jit:DeprecationWarning", "ignore:.*TorchScript:UserWarning")
@pytest.mark.parametrize(("name", "make", "message"), REFUSED.values(), ids=REFUSED)
def test_files_that_are_no_network_are_refused_and_run_no_code(tmp_path, monkeypatch, name, make, message):
    pytest.importorskip("einops", reason="pip install 'psal[models]'")
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name)
    with pytest.raises(errors.InputError, match=message) as caught:
        network_of(tmp_path / ("net.pth" if name == "other.pth" else name))
    assert "\n" not in str(caught.value) and not (tmp_path / "executed").exists()


def test_a_network_of_another_task_is_refused(tmp_path):
    pytest.importorskip("einops", reason="pip install 'psal[models]'")
    torch.manual_seed(0)
    with spandrel_files._imported("a test"):
        from spandrel.architectures.NAFNet import NAFNet
    state = NAFNet(width=8, middle_blk_num=1, enc_blk_nums=[1], dec_blk_nums=[1]).state_dict()
    torch.save(state, tmp_path / "denoise.pth")
    with pytest.raises(
        errors.InputError, match=r"\(NAFNet\) for the restoration of pictures .*: expected one for super-resolution"
    ):
        network_of(tmp_path / "denoise.pth")


def test_without_spandrel_the_cure_is_named(tmp_path, monkeypatch):
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "net.safetensors")
    monkeypatch.setitem(__import__("sys").modules, "spandrel", None)
    with pytest.raises(errors.InputError, match=r"pip install 'psal\[models\]'"):
        network_of(tmp_path / "net.safetensors")
