"""The plug-in for GIMP 3: in GIMP's batch mode where GIMP 3 is installed, and what needs no GIMP, with stubs of its modules."""

import importlib.util
import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

import psal_cli
from psal_cli import integrations

from .photos import psal
from .pictures import pixels_of

FOLDER = Path(integrations.__path__[0]) / "gimp"
SIZE = (60, 40)


def gimp():
    """The command of GIMP 3's console; PSAL_GIMP may name another, for instance in a chroot. None where there is none."""
    command = shlex.split(os.environ.get("PSAL_GIMP", "")) or [
        shutil.which("gimp-console-3.0") or shutil.which("gimp-console") or ""
    ]
    if not command[0]:
        return None
    version = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False).stdout
    return command if " version 3." in version else None


@pytest.mark.slow
@pytest.mark.subprocess
def test_the_three_procedures_work_in_gimp(tmp_path, monkeypatch, shell_psal):
    command = gimp()
    if command is None:
        pytest.skip("GIMP 3 is not installed (Debian has it from trixie on)")
    photo = np.random.default_rng(0).integers(0, 256, (*SIZE[::-1], 3), np.uint8)
    photo[12:20, 20:30] = 255
    Image.fromarray(photo).save(tmp_path / "photo.png")
    Image.fromarray(photo).convert("L").save(tmp_path / "grey.png")
    import cv2

    cv2.imwrite(str(tmp_path / "deep.png"), photo.astype(np.uint16)[..., ::-1] * 257 - 3 * (photo > 0)[..., ::-1])
    plug_ins = tmp_path / "profile/plug-ins"
    shutil.copytree(FOLDER / "psal", plug_ins / "psal")
    job = f"JOB = {json.dumps({'folder': str(tmp_path)})}\n"
    (tmp_path / "batch.py").write_text(job + (Path(__file__).parent / "gimp_batch.py").read_text())
    code = f"exec(open('{tmp_path}/batch.py').read())"
    variables = shell_psal | {"GIMP3_DIRECTORY": str(tmp_path / "profile"), "HOME": str(tmp_path)}
    given = [*command, "-idf", "--batch-interpreter", "python-fu-eval", "-b", code, "--quit"]
    done = subprocess.run(given, env=variables, capture_output=True, text=True, timeout=600, check=False)
    assert (tmp_path / "said.json").exists(), done.stderr
    said = json.loads((tmp_path / "said.json").read_text())

    monkeypatch.chdir(tmp_path)
    hole = np.zeros(SIZE[::-1], bool)
    hole[12:20, 20:30] = True
    success, failed = 3, 0
    for name in ("photo", "deep"):
        assert said[name] == [success, ["Removed (psal)", "Background"], True]
        before, after = (read(f"{name}{suffix}.png") for suffix in ("", "_removed"))
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after[~hole], before[~hole])
        assert (after[hole] != before[hole]).any()
    assert psal("inpaint", "photo.png", "--box", "20,12,10,8", "-o", "alone.png").exit_code == 0
    np.testing.assert_array_equal(read("photo_removed.png"), read("alone.png"))
    assert said["empty"] == [failed, "Nothing is selected: select what is to be removed."]
    assert said["enlarged"] == [success, 90, 60]
    assert said["colorized"] == [success, "Coloured (psal)"]
    coloured = read("colorized.png").astype(int)
    assert np.ptp(coloured, axis=2).mean() > 10


def read(name):
    import cv2

    picture = cv2.imread(name, cv2.IMREAD_UNCHANGED)
    return picture[..., 2::-1]  # the file that GIMP writes may have alpha


class Stub(ModuleType):
    """A module of GIMP's, in which every name is a class."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (), {"__gtype__": None})


@pytest.fixture
def plug_in(monkeypatch):
    """The file as a module."""
    for name in ("gi", "gi.repository"):
        monkeypatch.setitem(sys.modules, name, Stub(name))
    sys.modules["gi"].require_version = lambda *version: None
    for name in ("Gimp", "Gio", "GLib", "GObject"):
        setattr(sys.modules["gi.repository"], name, Stub(name))
    spec = importlib.util.spec_from_file_location("gimp_psal", FOLDER / "psal/psal.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_gimp_can_start_the_file():
    file = FOLDER / "psal/psal.py"
    assert os.access(file, os.X_OK) and file.read_text().startswith("#!/usr/bin/env python3\n")
    assert file.stem == file.parent.name  # where GIMP looks


@pytest.mark.subprocess
def test_it_runs_psal_and_says_what_psal_said(plug_in, tmp_path, monkeypatch, shell_psal):
    monkeypatch.setenv("PATH", shell_psal["PATH"])
    monkeypatch.setenv("PSAL", str(tmp_path / "bin/psal"))
    (tmp_path / "bin/psal").write_text(
        (tmp_path / "bin/psal").read_text().replace("exec ", f"export PYTHONPATH={Path(psal_cli.__file__).parents[1]}\nexec ")
    )
    monkeypatch.chdir(tmp_path)
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)).save("a.png")
    told = []
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # GIMP's, which psal's Python must not see
    plug_in.run_psal(["inpaint", "a.png", "--box", "8,8,4,4", "-o", Path("b.png")], lambda: told.append(0))
    assert told and (pixels_of("b.png") != pixels_of("a.png")).any()
    with pytest.raises(plug_in.PsalFailedError, match="no such file"):
        plug_in.run_psal(["inpaint", "none.png", "--box", "8,8,4,4"], lambda: None)


def test_without_psal_it_says_so(plug_in, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("PSAL", raising=False)
    with pytest.raises(plug_in.PsalFailedError, match="was not found"):
        plug_in.command()
    own = tmp_path / ".local/bin/psal"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    assert plug_in.command() == [str(own)]
