"""Weights: those that ship are what their manifest says, and what users bring is checked."""

import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn

from psal_cli import weights
from psal_cli.errors import InputError


@pytest.fixture
def network():
    return nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1))


def test_every_file_is_in_the_manifest_and_has_a_model_card():
    files = {path.name for path in weights.FOLDER.glob("*.safetensors")}
    assert files and files == {entry["file"] for entry in weights.manifest().values()}
    card = (Path(__file__).parents[1] / "weights" / "README.md").read_text()
    for name in files:
        assert f"`{name}`" in card


@pytest.mark.parametrize("name", weights.manifest())
def test_every_file_is_what_was_shipped_and_says_how_it_was_made(name):
    path = weights.FOLDER / weights.manifest()[name]["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == weights.manifest()[name]["sha256"]
    assert weights.shipped(name)
    with safe_open(path, "pt") as file:
        assert {"recipe", "steps", "revision"} <= file.metadata().keys()


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    name, entry = next(iter(weights.manifest().items()))
    content = bytearray((weights.FOLDER / entry["file"]).read_bytes())
    content[-1] ^= 1
    (tmp_path / entry["file"]).write_bytes(content)
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(InputError, match="checksum differs: install psal again"):
        weights.shipped(name)
    (tmp_path / entry["file"]).unlink()
    with pytest.raises(InputError, match="cannot be read"):
        weights.shipped(name)


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("suffix", [".pt", ".pth"])
def test_a_file_of_the_users_loads(tmp_path, network, suffix, wrapped):
    state = {name: torch.rand_like(x) for name, x in network.state_dict().items()}
    torch.save({"state_dict": state} if wrapped else state, tmp_path / f"x{suffix}")
    loaded = weights.load_strict(network, weights.load_file(tmp_path / f"x{suffix}"), "x")
    for name, x in loaded.state_dict().items():
        torch.testing.assert_close(x, state[name])
    assert not any(x.requires_grad for x in loaded.parameters()) and not loaded.training


class Harm:
    def __reduce__(self):
        return (print, ("run",))


def test_code_in_a_file_is_not_run(tmp_path, capsys):
    (tmp_path / "x.pt").write_bytes(pickle.dumps(Harm(), protocol=2))
    torch.save(nn.Linear(1, 1), tmp_path / "model.pt")
    for name in ("x.pt", "model.pt"):
        with pytest.raises(InputError, match=r"save model\.state_dict"):
            weights.load_file(tmp_path / name)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.pt", None, "none.pt cannot be read: No such file"),
        ("x.bin", b"x", "expected .safetensors, .pt or .pth"),
        ("x.safetensors", b"x", "is not a safetensors file"),
        ("x.pt", b"", "damaged"),
    ],
)
def test_what_is_no_weights_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        weights.load_file(tmp_path / name)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"0.bias": None}, r"x does not fit Sequential: it lacks 0.bias"),
        ({"2.bias": torch.zeros(1)}, r"it has unknown 2.bias"),
        ({"1.weight": torch.zeros(2, 2)}, r"1.weight is \[2, 2\], expected \[1, 2\]"),
        ({"0.bias": torch.full((2,), torch.nan)}, "NaN or infinity in 0.bias"),
    ],
)
def test_names_and_shapes_must_be_all_right(network, change, message):
    state = {name: x for name, x in (network.state_dict() | change).items() if x is not None}
    with pytest.raises(InputError, match=message):
        weights.load_strict(network, state, "x")


def test_weights_are_verified_and_read_once(monkeypatch, tmp_path):
    """The recipe is that of the bytes that were verified, even if the file changes meanwhile."""
    reads = []
    read = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: reads.append(path.name) or read(path))
    state, recipe = weights.resolve("upscale-x2")
    assert reads == ["upscale-x2.safetensors"] and recipe["degraded"] is False and "head.weight" in state


def test_a_private_copy_shares_the_weights_and_nothing_else():
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    copy = weights.private_copy(network)
    assert copy is not network and copy[0] is not network[0]
    assert all(x is y for x, y in zip(copy.parameters(), network.parameters(), strict=True))
    assert all(x is y for x, y in zip(copy.buffers(), network.buffers(), strict=True))
    copy[0].stride = (2, 2)
    assert network[0].stride == (1, 1)


def test_integers_are_no_weights():
    network = nn.Linear(2, 2)
    state = {name: x.to(torch.int8) for name, x in network.state_dict().items()}
    with pytest.raises(InputError, match="file holds int8 numbers in weight, expected floating-point ones"):
        weights.load_strict(network, state, "file")


@pytest.mark.parametrize("metadata", [{"recipe": "[" * 100_000}, {"recipe": "7"}, {"recipe": "\ud7ff"}])
def test_no_metadata_of_a_file_of_weights_is_an_internal_error(tmp_path, metadata):
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, tmp_path / "w.safetensors", metadata=metadata)
    assert weights.resolve(str(tmp_path / "w.safetensors"))[1] == {}
