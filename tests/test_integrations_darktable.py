"""The script for darktable: checked by luacheck, and run on a stub of darktable's Lua interface with psal itself."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import psal_cli
from psal_cli import integrations
from psal_cli.image import read_picture, write_picture
from psal_cli.image.picture import Picture
from psal_cli.image.strokes import Brush, Strokes, encoded

from .photos import psal

SCRIPT = Path(integrations.__path__[0]) / "darktable/psal.lua"
STUB = Path(__file__).parent / "darktable_stub.lua"
LUA = shutil.which("lua5.3") or shutil.which("lua5.4") or shutil.which("lua")
SIZE = (48, 32)
HOLE = np.zeros(SIZE[::-1], bool)
HOLE[10:16, 20:30] = True

pytestmark = [pytest.mark.slow, pytest.mark.subprocess]


@pytest.mark.parametrize("file", [SCRIPT, STUB], ids=lambda path: path.name)
def test_luacheck_finds_nothing(file):
    if not shutil.which("luacheck"):
        pytest.skip("luacheck is not installed (Debian: lua-check)")
    given = ["luacheck", "--no-color", "--std", "lua53", "--max-line-length", "130", str(file)]
    done = subprocess.run(given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def export(tmp_path, monkeypatch, shell_psal):
    """A function: names of raws, the folder's other files being there -> what was printed, by the lines' first word."""
    if LUA is None:
        pytest.skip("Lua is not installed (Debian: lua5.3)")
    monkeypatch.chdir(tmp_path)
    raws = tmp_path / "it's raw"
    raws.mkdir()
    root = Path(psal_cli.__file__).parents[1]
    (tmp_path / "bin/psal").write_text((tmp_path / "bin/psal").read_text().replace("exec ", f'export PYTHONPATH="{root}"\nexec '))

    def run(*names):
        pairs = [(f"{name}.nef", str(tmp_path / f"{name}.tif")) for name in names]
        given = [LUA, STUB, SCRIPT, tmp_path / "bin/psal", raws, *(part for pair in pairs for part in pair)]
        done = subprocess.run(list(map(str, given)), env=shell_psal, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        said = {}
        for line in done.stdout.splitlines():
            word, _, rest = line.partition(" ")
            said.setdefault(word, []).append(rest)
        return said

    return raws, run


def photo(name):
    """A 16-bit TIFF file as darktable would export it."""
    pixels = np.random.default_rng(0).integers(0, 65536, (*SIZE[::-1], 3), np.uint16)
    write_picture(Picture(pixels), f"{name}.tif")
    return pixels


def layered(name):
    """The same with the mask as its second page."""
    pixels = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
    pages = [Image.fromarray(pixels), Image.fromarray(np.uint8(255) * HOLE)]
    pages[0].save(f"{name}.tif", save_all=True, append_images=pages[1:])
    return pixels


def test_a_painted_mask_beside_the_raw_is_filled_and_the_result_grouped(export):
    raws, run = export
    before = photo("a")
    shutil.copy("a.tif", "kept.tif")
    Image.fromarray(np.uint8(255) * HOLE).save(raws / "a_mask.png")
    (raws / "a_psal.tif").touch()  # nothing is overwritten
    said = run("a")
    assert said["supported"] == ["tiff true", "png false"]
    assert said["imported"] == [str(raws / "a_psal_1.tif")] and said["grouped"] == ["with a.nef"]
    assert said["shown"] == ["psal: a.nef, 1 of 1", "psal: 1 done"] and said["destroyed"] == ["psal"]
    after = read_picture(raws / "a_psal_1.tif").pixels
    assert after.dtype == np.uint16 and not Path("a.tif").exists()  # what darktable exported is not left
    np.testing.assert_array_equal(after[~HOLE], before[~HOLE])
    assert psal("inpaint", "kept.tif", "--mask", raws / "a_mask.png", "-o", "alone.tif").exit_code == 0
    np.testing.assert_array_equal(after, read_picture("alone.tif").pixels)


def test_shapes_and_masks_in_the_export_are_found_too(export):
    raws, run = export
    pictures = {"drawn": photo("drawn"), "outlined": photo("outlined"), "layered": layered("layered")}
    strokes = Strokes(SIZE, (Brush("mask", ((25.0, 13.0, 3.0),)),), {})
    (raws / "drawn_strokes.json").write_bytes(encoded(strokes))
    shape = {"label": "wire", "points": [[20, 10], [30, 10], [30, 16], [20, 16]]}
    (raws / "outlined.json").write_text(json.dumps({"shapes": [shape]}))
    said = run(*pictures)
    assert ["8 bits" in line for line in said["shown"]] == [False, False, True, False]
    assert sorted(said["imported"]) == sorted(str(raws / f"{name}_psal.tif") for name in pictures)
    for name, before in pictures.items():
        changed = (read_picture(raws / f"{name}_psal.tif").pixels != before).any(2)
        assert changed.any() and not (changed & ~HOLE).any()
        assert changed.sum() > (0.9 * HOLE.sum() if name != "drawn" else 20)


def test_what_has_no_mask_or_fails_is_said_and_stops_no_other(export):
    raws, run = export
    for name in ("none", "wrong"):
        photo(name)
    Image.fromarray(np.uint8(255) * HOLE[1:]).save(raws / "wrong_mask.png")
    said = run("none", "wrong")
    assert "imported" not in said and said["shown"][-1] == "psal: 0 done"
    assert sorted(line.partition(":")[0] for line in said["error"]) == ["none.nef", "wrong.nef"]
    assert any("there is not a mask" in line for line in said["error"]) and any("psal failed" in line for line in said["error"])
