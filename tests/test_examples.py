"""The shell recipes of examples/batch.md do what they say."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import psal_cli

PAGE = Path(__file__).parent.parent / "examples" / "batch.md"
RECIPES = re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.S)
NAMES = ("a", "b", "deep/c")


@pytest.fixture
def shell(tmp_path):
    """A function that runs bash in a folder with photos/, masks/ and a `psal` that is this one."""
    hole = np.zeros((48, 64), np.uint8)
    hole[20:28, 30:40] = 255
    for name in NAMES:
        for folder, suffix, pixels in (("photos", "jpg", 90 + hole // 4), ("masks", "png", hole)):
            path = tmp_path / folder / f"{name}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    shutil.copy(tmp_path / "masks" / "deep" / "c.png", tmp_path / "masks" / "c.png")
    psal = tmp_path / "bin" / "psal"
    psal.parent.mkdir()
    psal.write_text(f'#!/bin/sh\nexec "{sys.executable}" -P -c "from psal_cli.commands import main; main()" "$@"\n')
    psal.chmod(0o755)
    env = os.environ | {"PATH": f"{psal.parent}:{os.environ['PATH']}", "PYTHONPATH": str(Path(psal_cli.__file__).parent.parent)}

    def run(script):
        return subprocess.run(["bash", "-eo", "pipefail", "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True)

    return run


def results(folder):
    return sorted(str(path.relative_to(folder / "out")) for path in (folder / "out").rglob("*.jpg"))


def test_the_page_has_the_recipes_that_are_tested():
    assert [re.search("xargs|parallel|--from-file -|--from-file failed|--skip-existing", recipe)[0] for recipe in RECIPES] == [
        "xargs",
        "--from-file -",
        "parallel",
        "--skip-existing",
        "--from-file failed",
    ]


def test_find_and_xargs(shell, tmp_path):
    (tmp_path / "photos" / ".hidden.jpg").write_text("no picture")
    for recipe, last in zip(RECIPES, ("c.jpg", "deep/c.jpg"), strict=False):
        done = shell(recipe)
        assert done.returncode == 0, done.stderr
        assert results(tmp_path) == ["a.jpg", "b.jpg", last]
        shutil.rmtree(tmp_path / "out")


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_parallel_keeps_the_tree_and_collects_failures(shell, tmp_path):
    (tmp_path / "photos" / "b.jpg").write_text("no picture")
    done = shell(RECIPES[2].replace("-N 20", "-N 1").replace("cat", "true; cat"))
    assert done.returncode == 1 and "photos/b.jpg is no picture" in done.stderr  # parallel counts the failed processes
    assert results(tmp_path) == ["a.jpg", "deep/c.jpg"]
    assert shell(RECIPES[2].split("\n")[-2]).returncode == 0
    assert (tmp_path / "failed.txt").read_text() == "photos/./b.jpg\n"


def test_a_batch_goes_on_after_a_kill_and_failures_are_fed_back(shell, tmp_path):
    whole = (tmp_path / "photos" / "b.jpg").read_bytes()
    (tmp_path / "photos" / "b.jpg").write_bytes(whole[:200])
    shell("psal inpaint photos/deep/c.jpg --mask masks/c.png -o out/deep/c.jpg")  # the folder is not there: nothing
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.jpg").write_bytes(b"done before the kill")
    first = shell(RECIPES[3])
    assert first.returncode == 1 and "1 done, 1 failed, 1 skipped" in first.stderr
    assert (tmp_path / "out" / "a.jpg").read_bytes() == b"done before the kill"
    assert (tmp_path / "failed.txt").read_text() == "photos/./b.jpg\n"
    (tmp_path / "photos" / "b.jpg").write_bytes(whole)
    again = shell(RECIPES[4])
    assert again.returncode == 0, again.stderr
    assert results(tmp_path) == ["a.jpg", "b.jpg", "deep/c.jpg"]
    assert shell(RECIPES[3]).returncode == 3  # nothing left to do
