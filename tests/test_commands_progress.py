"""What a command says while it works: a line a picture off a terminal, and what the bar on one shows."""

import re
import time
from io import StringIO
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from psal_cli.commands import bar
from psal_cli.verbs.inpaint import api

from .photos import lines, psal, texture

VERBS = {
    "inpaint": ("--box", "12,10,8,6"),
    "colorize": ("--ref", "another.png"),
    "upscale": ("-x", 2),
    "generate": ("--method", "psin", "--patch-size", 5),
    "reconstruct": ("--from", "photo.png"),
}


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for name in ("photo.png", "another.png", "in/a.png", "in/b.png"):
        Image.fromarray(texture(3)).save(name)


def talk(done):
    """The lines on stderr, less what colorize has to say of the input."""
    assert done.exit_code == 0, done.stderr
    return [line for line in done.stderr.splitlines() if "has colours" not in line and "are guesses" not in line]


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_off_a_terminal_each_picture_has_one_line(verb):
    first, second, summary = talk(psal(verb, "in", *VERBS[verb], "-o", "out"))
    assert first.startswith("psal: [1/2] out/a.png: done in ") and second.startswith("psal: [2/2] out/b.png: done in ")
    assert summary.startswith("psal: 2 done, 0 failed in ")
    (line,) = talk(psal(verb, "photo.png", *VERBS[verb], "-o", "one.png"))
    assert re.fullmatch(r"psal: one\.png: done in \d+\.\d s(, .*)?", line)


@pytest.mark.slow
@pytest.mark.parametrize("verb", VERBS)
def test_verbose_has_a_line_for_each_step_and_quiet_has_none(verb):
    loud = psal(verb, "photo.png", *VERBS[verb], "-o", "1.png", "-v").stderr.splitlines()
    steps = [line for line in loud if re.match(r"psal: photo\.png: (level \d of \d, )?\d+x\d+$", line)]
    assert steps and len(set(steps)) == len(steps), loud
    assert psal(verb, "photo.png", *VERBS[verb], "-o", "2.png", "-q").output == ""


@pytest.mark.slow
def test_done_in_counts_reading_work_and_writing(monkeypatch):
    from psal_cli import image

    def slower(module, name):
        work = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *args, **options: (time.sleep(0.3), work(*args, **options))[1])

    slower(image, "read_picture")
    slower(api, "inpaint")
    slower(image, "write_picture")
    (record,) = lines(psal("inpaint", "photo.png", *VERBS["inpaint"], "-o", "out.png", "--json"))
    assert record["seconds"] >= 0.9
    said = psal("inpaint", "photo.png", *VERBS["inpaint"], "-o", "again.png").stderr
    assert float(re.search(r"done in (\S+) s", said)[1]) >= 0.9


@pytest.fixture
def shown():
    """What the bar shows at a share of its work, at a time."""
    clock = [0.0]
    live = bar.make_bar()
    live.get_time = lambda: clock[0]
    task = live.add_task("a.jpg · level 6 of 6, 640x480", total=1)
    screen = Console(file=StringIO(), width=120)

    def at(seconds, share):
        clock[0] = seconds
        live.update(task, completed=share)
        with screen.capture() as caught:
            screen.print(live.get_renderable())
        return caught.get()

    return at


def test_the_bar_tells_label_share_elapsed_and_remaining(shown):
    assert "-:-- left" in shown(0, 0) and "-:-- left" in shown(1, 0.001)
    text = shown(30, 0.25)
    for words in ("a.jpg · level 6 of 6, 640x480", "25%", "0:00:30", "1:30 left"):
        assert words in text
    assert "1:20 left" in shown(40, 0.25)  # nothing new: it counts down
    assert "0:00 left" in shown(900, 0.25)
    assert "0:10 left" in shown(90, 0.9)
    assert "1:07:30 left" in shown(450, 0.1)
