"""The wheel of `make dist` for this machine: installed where there is no compiler, it does the main job."""

import platform
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from psal_cli import native

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
pytestmark = [pytest.mark.slow, pytest.mark.subprocess]


@pytest.fixture
def wheel():
    wheels = sorted((ROOT / "dist").glob(f"psal-*-py3-none-manylinux*_{platform.machine()}.whl"))
    if not wheels or sys.platform != "linux":
        pytest.skip("there is no wheel for this machine in dist/: `make dist` makes it")
    return wheels[-1]


def test_the_wheel_needs_no_compiler(wheel, tmp_path):
    """In a fresh environment whose PATH has nothing else; what psal depends on is that of the tests."""
    fresh = tmp_path / "fresh"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", fresh], check=True)
    alone = {"PATH": str(fresh / "bin"), "HOME": str(tmp_path)}
    pip = [sys.executable, "-m", "pip", "--python", fresh / "bin/python"]
    subprocess.run([*pip, "install", "-q", "--no-index", "--no-deps", "--no-compile", wheel], env=alone, check=True)
    site = next(fresh.glob("lib/python*/site-packages"))
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"])
    code = "from psal_cli import native; print(native.__file__, native.cpu_isa())"
    said = subprocess.run([fresh / "bin/python", "-P", "-c", code], env=alone, stdout=subprocess.PIPE, text=True, check=True)
    place, isa = said.stdout.split()
    assert place.startswith(str(fresh)) and isa == native.cpu_isa()  # as wide as one that was built here

    picture, out = EXAMPLES / "dandelions.jpg", tmp_path / "out.png"
    mask = EXAMPLES / "dandelions_mask.png"
    subprocess.run([fresh / "bin/psal", "inpaint", picture, "--mask", mask, "-o", out], env=alone, check=True)
    before, after, hole = (np.asarray(Image.open(path)) for path in (picture, out, mask))
    hole = hole.reshape(*hole.shape[:2], -1)[..., 0] > 127
    assert (before[~hole] == after[~hole]).all() and (before[hole] != after[hole]).any()


def test_the_wheel_holds_the_page_and_the_licence_of_what_is_not_psals(wheel):
    page = ROOT / "psal_cli/paint/static"
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    for path in page.rglob("*"):
        assert path.is_dir() or str(path.relative_to(ROOT)) in names
    assert any(name.endswith("LICENSE.txt") and "dist-info/licenses" in name for name in names)


def test_the_wheel_holds_all_files_of_the_doors_into_other_programs(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    doors = [path for path in (ROOT / "psal_cli/integrations").rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert len(doors) > 5 and all(str(path.relative_to(ROOT)) in names for path in doors)
