"""`psal` as a process: quick to answer, a bar on a terminal, Ctrl-C, and the doctor."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import psal_cli
from psal_cli import libraries, native

from .photos import psal

ROOT = Path(__file__).parent.parent
COLOURS = ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE")
ENV = {name: value for name, value in os.environ.items() if name not in COLOURS} | {
    "PYTHONPATH": str(Path(psal_cli.__file__).parent.parent),
    "TERM": "xterm-256color",
}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder to work in: photo.png, and mask.png over a part of it."""
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (64, 48), (90, 120, 30)).save("photo.png")
    mask = np.zeros((48, 64), np.uint8)
    mask[10:20, 10:20] = 255
    Image.fromarray(mask).save("mask.png")
    return tmp_path


def python(code):
    """Runs code in a fresh interpreter that sees the same package."""
    return subprocess.run([sys.executable, "-P", "-c", code], env=ENV, capture_output=True, text=True)


@pytest.mark.subprocess
def test_import_and_help_are_light():
    heavy = "{'torch', 'cv2', 'numpy', 'PIL', 'rich'} & set(sys.modules)"
    asked = ("--help", "inpaint --help", "colorize --help", "generate --help", "doctor --help", "--version")
    code = f"""
import sys
from psal_cli.commands import main
for args in {asked}:
    try: main(args.split())
    except SystemExit as end: print(args, end.code, {heavy}, file=sys.stderr)
"""
    assert python(code).stderr.splitlines() == [f"{args} 0 set()" for args in asked]
    code = f"import sys, psal_cli\nprint({heavy})\npsal_cli.ps_attention, psal_cli.PSAttention\nprint(dir(psal_cli))"
    light, names = python(code).stdout.splitlines()
    assert light == "set()" and "'PSAttention'" in names and "'upscale'" in names


@pytest.mark.subprocess
def test_a_run_leaves_the_compiler_of_torch_alone(folder):
    code = """
import sys
from psal_cli.commands import main
try: main(["inpaint", "photo.png", "--mask", "mask.png", "-q"])
except SystemExit as end: print(end.code, "torch" in sys.modules, "torch._dynamo" in sys.modules)
"""
    assert python(code).stdout == "0 True False\n"  # a second and 70 MB of every run
    assert (folder / "photo_inpainted.png").exists()


def test_version_is_that_of_the_package():
    with (ROOT / "pyproject.toml").open("rb") as file:
        assert tomllib.load(file)["project"]["version"] == psal_cli.__version__
    assert psal("--version").stdout.strip() == f"psal, version {psal_cli.__version__}"


def test_the_group_refuses_in_one_line_too():
    for args, words in ((["bogus"], "No such command 'bogus'"), (["--bogus"], "No such option '--bogus'")):
        done = psal(*args)
        assert done.exit_code == 2 and words in done.stderr and done.stderr.count("\n") == 1
    nothing = psal()
    assert nothing.exit_code == 2 and nothing.stdout == "" and "Usage: psal" in nothing.stderr


@pytest.mark.subprocess
def test_ctrl_c_ends_with_130_and_leaves_nothing(folder):
    code = """
import time
from psal_cli.commands import main
from psal_cli.verbs.inpaint import api
def wait(*_, **__): print("working", flush=True); time.sleep(60)
api.inpaint = wait
main(["inpaint", "photo.png", "--mask", "mask.png"])
"""
    before = sorted(folder.iterdir())
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", code], env=ENV, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        assert process.stderr.read().splitlines() == ["psal: photo.png: interrupted, nothing half-written is left"]
    assert sorted(folder.iterdir()) == before


def on_a_terminal(folder, *options, **env):
    """What `psal inpaint` shows when stderr is a terminal; its engine takes a second, if nothing more is asked."""
    code = f"""
from psal_cli.commands import main
from psal_cli.verbs.inpaint import api
def fill(image, mask, options, progress, **_):
    import time, numpy
    for level in (1, 2):
        if progress: progress((level - 1) / 2, f"level {{level}} of 2, 48x32")
        time.sleep({0.6 if not (options or env) else 0.1})
    return api.InpaintResult(image.copy(), mask, numpy.zeros((mask.sum(), 2), numpy.int32), None)
api.inpaint = fill
main(["inpaint", "photo.png", "--mask", "mask.png", *{options}])
"""
    controller, terminal = pty.openpty()
    process = subprocess.Popen([sys.executable, "-P", "-c", code], env=ENV | env, stdout=subprocess.PIPE, stderr=terminal)
    os.close(terminal)
    shown = b""
    with process, suppress(OSError):  # raised by Linux when the other end is closed
        while block := os.read(controller, 4096):
            shown += block
    os.close(controller)
    assert process.returncode == 0 and (folder / "photo_inpainted.png").exists()
    return shown.decode()


@pytest.mark.subprocess
@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}])
def test_a_terminal_gets_a_bar_and_no_color_is_obeyed(folder, env):
    shown = on_a_terminal(folder, **env)
    assert "━" in shown and "level 2 of 2, 48x32" in shown and "50%" in shown
    if not env:  # it takes a second
        assert {"0:00:00", "0:00:01"} <= set(re.findall(r"\d:\d\d:\d\d", shown))  # elapsed
        left = re.findall(r"(\S+) left", re.sub(r"\x1b\[[0-9;]*m", "", shown))
        assert "-:--" in left and {"0:01", "0:00"} <= set(left)
    colours = re.findall(r"\x1b\[[0-9;]*3[0-8][0-9;]*m", shown)
    assert bool(colours) == (not env)


@pytest.mark.subprocess
def test_a_terminal_stays_empty_with_quiet(folder):
    assert on_a_terminal(folder, "-q") == ""


@pytest.mark.subprocess
def test_doctor_says_what_is_there():
    done = psal("doctor", "--json")
    assert done.exit_code == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["psal"] == psal_cli.__version__ and facts["torch"] == torch.__version__
    assert facts["cpu_kernels"] == native.cpu_isa() and facts["cuda_architectures"] == native.cuda_architectures()
    assert facts["threads"] >= 1 and facts["device"] in ("cpu", "cuda:0") and facts["reason"]
    text = psal("doctor").stdout
    assert f"torch               {torch.__version__}" in text.splitlines()


@pytest.mark.subprocess
def test_doctor_says_which_instructions_the_processor_lacks(monkeypatch):
    assert json.loads(psal("doctor", "--json").stdout)["cpu_lacks"] == "" or native.cpu_isa() == "baseline"
    monkeypatch.setattr(native, "cpu_isa", lambda: "baseline")
    for machine, lacks in ("Linux on x86-64", "AVX2 and FMA: psal is slower"), ("Linux on aarch64", "none"):
        monkeypatch.setattr(libraries, "this_machine", lambda machine=machine: machine)
        assert re.search(rf"^cpu lacks +{lacks}", psal("doctor").stdout, re.MULTILINE)


@pytest.mark.subprocess
def test_doctor_names_a_library_that_does_not_load(monkeypatch):
    def fail():
        raise ImportError("libpsal.so does not load (libgomp.so.1: cannot open shared object file): reinstall psal")

    monkeypatch.setattr(native, "library", fail)
    done = psal("doctor", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout)["cpu_kernels"] is None
    assert "libgomp" in done.stderr and "reinstall psal" in done.stderr and done.stderr.count("\n") == 1
