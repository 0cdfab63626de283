"""Defaults of options from the environment and from configuration files: which one wins, and what is refused."""

import json
import re
from pathlib import Path

import pytest

from psal_cli.benchmarks import memory
from psal_cli.benchmarks.layers import Case
from psal_cli.commands import COMMANDS, configuration, main

from .photos import lines, psal

RUN = ("inpaint", "photos/000.png", "--mask", "mask.png", "-o", "out.png", "--force", "--json")


@pytest.fixture
def own(photos, monkeypatch):
    """The user's own configuration file, not written yet; a picture and its mask are in the working folder."""
    monkeypatch.delenv(configuration.VARIABLE)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(photos(2) / "home"))
    path = configuration.user_file()
    path.parent.mkdir(parents=True)
    return path


def seed(*args):
    done = psal(*RUN, *args)
    assert done.exit_code == 0, done.stderr
    return lines(done)[0]["seed"]


def test_the_order_is_command_line_environment_named_file_own_file(own, monkeypatch):
    assert seed() == 0
    own.write_text("[inpaint]\nseed = 1\n")
    assert seed() == 1
    Path("project.toml").write_text("[common]\nseed = 2\n")
    assert seed("--config", "project.toml") == 2
    monkeypatch.setenv("PSAL_INPAINT_SEED", "3")
    assert seed("--config", "project.toml") == 3
    assert seed("--config", "project.toml", "--seed", 4) == 4


def test_the_table_of_a_verb_beats_the_common_one_and_is_its_own(own):
    own.write_text("[common]\nseed = 1\n[upscale]\nseed = 2\nscale = 3\n")
    assert seed() == 1
    done = psal("upscale", "photos/000.png", "-o", "large.png", "--json")
    assert done.exit_code == 0, done.stderr
    assert (lines(done)[0]["seed"], lines(done)[0]["scale"]) == (2, 3)


def test_files_are_left_aside_with_none(own):
    own.write_text("[inpaint]\nseed = 1\n")
    assert seed("--config", "none") == 0
    own.write_text("not TOML")
    assert seed("--config", "none") == 0


def test_a_file_is_named_by_a_variable_or_before_the_verb(own, monkeypatch):
    Path("a.toml").write_text("[inpaint]\nseed = 1\n")
    Path("b.toml").write_text("[inpaint]\nseed = 2\n")
    monkeypatch.setenv("PSAL_CONFIG", "a.toml")
    assert seed() == 1
    assert seed("--config", "b.toml") == 2
    done = psal("--config", "b.toml", *RUN)
    assert done.exit_code == 0 and lines(done)[0]["seed"] == 2


def test_a_file_gives_what_is_required_flags_lists_and_counts(own):
    own.write_text(
        """
        [common]
        force = true
        verbose = 1
        keep-going = false
        [inpaint]
        mask = "mask.png"
        output = "made/"
        mask_invert = false
        [colorize]
        ref = ["photos/000.png", "photos/001.png"]
        strength = 0.5
        """
    )
    for _ in range(2):  # the second run overwrites
        done = psal("inpaint", "photos/000.png")
        assert done.exit_code == 0 and Path("made/000.png").exists(), done.stderr
    assert f"defaults of options from {own}" in done.stderr  # of -v
    planned = psal("colorize", "photos/000.png", "-o", "x.png", "--dry-run", "--json")
    assert lines(planned)[0]["ref"] == ["photos/000.png", "photos/001.png"], planned.stderr


def test_a_name_may_begin_with_the_home_folder(own, monkeypatch):
    monkeypatch.setenv("HOME", str(Path.cwd()))
    own.write_text('[inpaint]\nmask = "~/mask.png"\n')
    done = psal("inpaint", "photos/000.png", "--dry-run", "--json")
    assert lines(done)[0]["mask"] == str(Path.cwd() / "mask.png")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[inpaint]\npatch-sise = 9", "[inpaint] patch-sise = 9: there is no such option. Did you mean 'patch-size'?"),
        ("[inpaint]\npatch-size = 8", "[inpaint] patch-size = 8: 8 is even: give an odd number, e.g. 9."),
        ("[inpaint]\nseed = true", "[inpaint] seed = true: expected a text or a number."),
        ("[inpaint]\nseed = 1.5", "[inpaint] seed = 1.5: '1.5' is not a valid integer"),
        ("[inpaint]\nseed = [1, 2]", "[inpaint] seed = [1, 2]: expected a text or a number."),
        ('[inpaint]\nforce = "yes"', '[inpaint] force = "yes": expected true or false.'),
        ('[inpaint]\nverbose = "much"', "[inpaint] verbose = \"much\": 'much' is not a valid integer"),
        ('[inpaint]\nengine = "magic"', "[inpaint] engine = \"magic\": 'magic' is not one of"),
        ('[inpaint]\nmask = "ftp://a.org/b"', "ftp://a.org/b: psal knows no ftp://"),
        ('[inpaint]\nfrom-file = "list.txt"', "it names the pictures of one run: give it on the command line."),
        ("[inpaint]\nconfig = 'a.toml'", "there is no such option."),
        ("[common]\nsede = 1", "[common] sede = 1: not all commands have this option: it is unknown. Did you mean 'seed'?"),
        ("[common]\npatch-size = 9", "[common] patch-size = 9: not all commands have this option: put it below [inpaint]."),
        ("[common]\njobs = 0", "[common] jobs = 0: 0 is not in the range 1 to 64."),
        ("[inpiant]\nseed = 1", "[inpiant] is not a command of psal. Did you mean 'inpaint'?"),
        ("seed = 1", "seed = 1: options belong below the name of a command, such as [inpaint], or below [common]."),
        ("common = 1", "common = 1: expected a table."),
        ("[inpaint\nseed = 1", "the configuration file is not valid TOML:"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_with_file_key_value_and_cure(own, text, words):
    own.write_text(text)
    done = psal(*RUN)
    assert done.exit_code == 2 and done.stderr.count("\n") == 1 and not Path("out.png").exists()
    assert done.stderr.startswith(f"psal: {own}: ") and words in done.stderr
    assert "orrect the file, or leave it aside with --config none" in done.stderr


def test_a_file_that_is_not_utf_8_or_not_there(own):
    own.write_bytes(b"\xff\xfe")
    assert psal(*RUN).exit_code == 2 and "is not valid TOML" in psal(*RUN).stderr
    own.unlink()
    done = psal(*RUN, "--config", "missing.toml")
    assert done.exit_code == 2 and "missing.toml: the configuration file cannot be read: No such file" in done.stderr


def test_help_and_version_need_no_valid_file(own, monkeypatch):
    own.write_text("not TOML")
    monkeypatch.setenv("PSAL_VERSION", "1.2.3")  # as images of containers have it
    monkeypatch.setenv("PSAL_HELP", "no")
    for args in (["inpaint", "--help"], ["inpaint", "-h"], ["--version"], ["--help"]):
        assert psal(*args).exit_code == 0


REQUIRED = {
    "inpaint": {"mask": "mask.png"},
    "colorize": {"ref": "mask.png"},
    "upscale": {"scale": "2"},
    "generate": {},
    "reconstruct": {"from": "mask.png"},
}


TEXTS = {"background", "mask-layer", "polygon-label"}  # any text may be a colour, a layer or a label


@pytest.mark.parametrize("verb", REQUIRED)
def test_every_option_has_a_variable_named_as_it_is_typed(own, verb, monkeypatch):
    """Each is set to what it does not take, which is refused with the name of the variable."""
    for name in configuration.options(main.get_command(None, verb)).keys() - TEXTS:
        variable = f"PSAL_{verb}_{name}".upper().replace("-", "_")
        required = [word for key, value in REQUIRED[verb].items() if key != name for word in (f"--{key}", value)]
        with monkeypatch.context() as patch:
            patch.setenv(variable, "ftp://example.org")
            done = psal(verb, "photos/000.png", *required)
        assert done.exit_code == 2 and done.stderr.count("\n") == 1
        assert f": correct the environment variable {variable} (see" in done.stderr, done.stderr


def test_variables_take_flags_names_with_blanks_and_lists(own, monkeypatch):
    Path("photos/000.png").rename("photos/a b.png")
    for name, value in (
        ("PSAL_COLORIZE_REF", "photos/a b.png:photos/001.png"),
        ("PSAL_COLORIZE_JSON", "1"),
        ("PSAL_COLORIZE_DRY_RUN", "true"),
        ("PSAL_COLORIZE_OUTPUT", ""),  # empty: as if it was not set
    ):
        monkeypatch.setenv(name, value)
    Path("photos/grey.png").write_bytes(Path("photos/001.png").read_bytes())
    done = psal("colorize", "photos/grey.png")
    assert done.exit_code == 0, done.stderr
    assert lines(done)[0]["ref"] == ["photos/a b.png", "photos/001.png"]
    monkeypatch.setenv("PSAL_COLORIZE_JSON", "0")
    assert psal("colorize", "photos/grey.png").stdout.startswith("do: ")


def test_a_default_that_does_not_fit_what_was_typed_is_ignored(own):
    own.write_text('[inpaint]\npatch-size = 9\nweights = "a.pt"\n[colorize]\nweights = "a.pt"\n[upscale]\nweights = "a.pt"\n')
    assert "a.pt" in psal(*RUN).stderr  # no such file
    patch = psal(*RUN, "--engine", "patch")
    assert patch.exit_code == 0, patch.stderr
    assert psal(*RUN, "--config", "none", "--engine", "network", "--patch-size", 9).exit_code == 2
    coloured = psal("colorize", "photos/000.png", "--ref", "photos/001.png", "-o", "coloured.png")
    assert coloured.exit_code == 0, coloured.stderr
    large = psal("upscale", "photos/000.png", "-x", 2, "--model", "clean", "-o", "large.png")
    assert large.exit_code == 0, large.stderr


@pytest.mark.subprocess
def test_the_files_of_the_guide_are_right(own):
    guide = (Path(__file__).parents[1] / "examples" / "configuration.md").read_text()
    (text,) = re.findall(r"```toml\n(.*?)```", guide, re.DOTALL)
    own.write_text(text)
    done = psal("doctor")
    assert done.exit_code == 0, done.stderr
    planned = psal("inpaint", "photos/000.png", "--mask", "mask.png", "--dry-run")
    assert planned.exit_code == 0, planned.stderr


def test_commands_below_bench_have_tables_and_variables(own, monkeypatch):
    small = ("--layers", "psal3", "--json")
    monkeypatch.setattr(memory, "_in_process", lambda job: [memory._row("psal3", Case(side), "forward") for side in job["sizes"]])
    own.write_text('[bench.memory]\nsizes = "16"\n')
    printed = json.loads(psal("bench", "memory", *small).stdout)
    assert {row["size"] for row in printed["rows"]} == {16}
    monkeypatch.setenv("PSAL_BENCH_MEMORY_SIZES", "24")
    assert {row["size"] for row in json.loads(psal("bench", "memory", *small).stdout)["rows"]} == {24}
    own.write_text("[bench.memry]\nseed = 1\n")
    assert "[bench.memry] is not a command of psal. Did you mean 'memory'?" in psal("bench", "memory").stderr


@pytest.mark.subprocess
def test_the_doctor_shows_the_files_and_looks_at_all_tables(own):
    def examined(*args):
        done = psal("doctor", "--json", *args)
        return done, json.loads(done.stdout)

    assert examined()[1]["configuration"] == [] and examined()[1]["user_configuration"] == f"{own} (no such file)"
    own.write_text("[inpaint]\nseed = 1\n")
    Path("a.toml").write_text("[upscale]\nscale = 4\n")
    done, facts = examined("--config", "a.toml")
    assert done.exit_code == 0 and facts["configuration"] == ["a.toml", str(own)] and facts["user_configuration"] == str(own)
    assert f"a.toml, {own}" in psal("doctor", "--config", "a.toml").stdout
    Path("a.toml").write_text("[upscale]\nscale = 50\n")
    done, _ = examined("--config", "a.toml")
    assert done.exit_code == 2 and "a.toml: [upscale] scale = 50: 50.0 is not in the range 1 to 16" in done.stderr


@pytest.mark.subprocess
def test_every_command_has_a_table(own):
    own.write_text("".join(f"[{name}]\n" for name in COMMANDS))
    assert psal("doctor").exit_code == 0
