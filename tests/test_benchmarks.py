"""psal bench: what it counts, what it leaves out, what it prints."""

import csv
import io
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from psal_cli.benchmarks import layers as layers_module
from psal_cli.benchmarks import memory, output, reconstruct, swap
from psal_cli.benchmarks.layers import LAYERS, Case, full
from psal_cli.benchmarks.pairs import pairs
from psal_cli.commands.bench import bench
from psal_cli.commands.reconstruct import reconstruct as reconstruct_command
from psal_cli.errors import InputError
from psal_cli.networks.colorization import grey
from psal_cli.verbs.colorize.paper import network_of
from psal_cli.verbs.reconstruct.options import ReconstructOptions

from .photos import psal


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    less_to_measure(monkeypatch)


def less_to_measure(patch):
    for module in (memory, reconstruct):
        patch.setattr(module, "WARM", 16)
    patch.setattr(memory, "REPEATS", 1)


# ------------------------------------------------------------------------------------------------------------------ counts


@pytest.mark.parametrize("name", ["full", "local", "linear", "performer", "reformer"])
@pytest.mark.parametrize("mode", memory.MODES)
def test_counted_operations_are_those_that_torch_counts(name, mode):
    case = Case(26, channels=2, value_channels=3, patch_size=7)
    maps = memory.inputs(case, mode, "cpu", 0)
    layer = LAYERS[name]
    with FlopCounterMode(display=False) as counter:
        out = layer.make(1.0, 0)(*maps)
        if mode == memory.MODES[1]:
            out.sum().backward()
    assert layer.work(case).flop[memory.MODES.index(mode)] == pytest.approx(counter.get_total_flops(), rel=0.02)


def test_counted_operations_of_a_stride_are_those_of_its_keys():
    case = Case(20, channels=2, value_channels=3)
    maps = memory.inputs(case, memory.MODES[0], "cpu", 0)
    with FlopCounterMode(display=False) as counter:
        reconstruct.layers()["full-5"].make(1.0, 0)(*maps)
    assert full(case, 5).flop[0] == counter.get_total_flops()


def test_psal_is_counted_to_grow_as_n_log_n():
    small, large = (LAYERS["psal3"].work(Case(side)).flop[0] / side**2 for side in (256, 1024))
    assert 1 < large / small < 1.2
    assert LAYERS["psal3"].work(Case(256)).flop[0] < LAYERS["full"].work(Case(256)).flop[0] / 100


def test_counted_memory_of_linear_layers_grows_with_the_maps():
    for name in ("linear", "performer", "reformer", "psal3", "aggregation"):
        for mode in range(2):
            small, large = (LAYERS[name].work(Case(side)).bytes[mode] for side in (2048, 4096))
            assert large / small > 2.5, name


# ------------------------------------------------------------------------------------------------------------------ table 1


def rows_of(name, sizes=(32, 48), seconds=100.0):
    return list(memory.run_layer(name, sizes, seconds, "cpu", None, 0))


@pytest.mark.slow
def test_rows_have_seconds_and_memory_without_and_with_gradient():
    rows = rows_of("psal3")
    assert [(row["size"], row["mode"]) for row in rows] == [(side, mode) for side in (32, 48) for mode in memory.MODES]
    for row in rows:
        assert row["status"] == "measured" and row["share"] == 1 and row["seconds"] > 0 and row["peak_bytes"] >= 0


def test_what_does_not_fit_is_not_begun(monkeypatch):
    monkeypatch.setattr(memory, "room", lambda device: 1e6)
    monkeypatch.setattr(memory, "run", lambda *_: None)
    for name in ("linear", "full"):
        rows = rows_of(name)
        assert all(row["status"] == "memory" and row["seconds"] is None and row["need_bytes"] > 1e6 for row in rows)


@pytest.mark.slow
def test_a_gradient_that_does_not_fit_is_timed_in_part(monkeypatch):
    """Full attention keeps its weights for the gradient, and only for it."""
    without, with_gradient = LAYERS["full"].work(Case(48)).bytes
    monkeypatch.setattr(memory, "room", lambda device: (without + with_gradient) / 2 + 1e6)
    forward, both = rows_of("full", sizes=(48,))
    assert forward["status"] == "measured" and forward["share"] == 1
    assert both["status"] == "memory" and both["share"] < 1 and both["seconds"] > 0 and both["peak_bytes"] is None


@pytest.mark.slow
def test_what_takes_too_long_is_done_in_part_or_not_at_all(monkeypatch):
    seen = []
    monkeypatch.setattr(memory, "run", lambda layer, maps, mode, seed=0, asked=None: seen.append(asked))
    monkeypatch.setattr(memory, "LEAST", 1)
    monkeypatch.setattr(memory, "timed", lambda run, device: (run() or 1.0, 1.0))  # a second a run, also at the first
    rows = rows_of("full", sizes=(256,), seconds=10.0)
    whole, warm = (LAYERS["full"].work(Case(side)).flop[0] for side in (256, memory.WARM))
    expected = whole / warm  # seconds, by the first run
    assert rows[0]["status"] == "part" and rows[0]["expected_seconds"] == pytest.approx(expected)
    assert rows[0]["share"] == pytest.approx(max(10 / expected, 1 / 256), abs=0.5 / 256)
    assert rows[0]["seconds"] == pytest.approx(1 / rows[0]["share"])
    assert seen[-1].sum() == rows[1]["share"] * 256**2
    seen.clear()
    rows = rows_of("linear", sizes=(256,), seconds=10.0)
    assert [row["status"] for row in rows] == ["seconds", "seconds"] and rows[0]["seconds"] is None
    assert not [asked for asked in seen if asked is not None]


@pytest.mark.slow
def test_a_failure_is_of_its_row_alone(monkeypatch):
    def fail(layer, maps, mode, seed=0, asked=None):
        if maps[0].shape[2] == 48:
            raise RuntimeError("no kernel\nset VERBOSE")

    monkeypatch.setattr(memory, "run", fail)
    rows = rows_of("psal3", sizes=(48, 40))
    assert [row["status"] for row in rows] == ["failed"] * 2 + ["measured"] * 2 and rows[0]["error"] == "RuntimeError: no kernel"


@pytest.mark.subprocess
def test_a_layer_that_cannot_be_run_leaves_rows_that_say_so():
    results = memory.measure((16, 24), ("psal3",), device="mps:99")
    assert [row["status"] for row in results["rows"]] == ["failed"] * 4
    assert all("error" in row and row["error"] for row in results["rows"])
    assert "failed" in output.text(results)
    with open("p.png", "wb") as file:
        output.plot(results, file, "png")


def test_growth_is_the_exponent():
    rows = [
        {"layer": layer, "mode": "forward", "size": side, "seconds": seconds and 1e-6 * side ** (2 * seconds)}
        for layer, seconds in (("full", 2.0), ("psal3", 1.1), ("local", None))
        for side in (64, 128, 256, 512)
    ]
    rows[0]["seconds"] = 100.0  # below 128 pixels other things count
    assert memory.growths(rows) == {"full, forward": pytest.approx(2.0), "psal3, forward": pytest.approx(1.1)}


def test_ratios_are_of_full_attention_over_psal():
    def row(layer, mode, seconds, peak):
        entry = {"layer": layer, "size": 512, "mode": mode, "status": "measured", "seconds": seconds, "expected_seconds": 9.0}
        return entry | {"peak_bytes": peak, "need_bytes": 8000, "paper_gb": LAYERS[layer].paper[512]}

    rows = [row("full", mode, None, None) for mode in memory.MODES] + [row("psal3", mode, 3.0, 4) for mode in memory.MODES]
    ratios = memory.ratios(rows)["512"]
    assert ratios == {"memory": 2000, "seconds": 3, "paper_memory": pytest.approx(1389, abs=0.2)}


# ------------------------------------------------------------------------------------------------------------------- pairs


def frames(folder, names):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        Image.fromarray(np.full((8, 10, 3), number, np.uint8)).save(folder / f"{name}.png")


def test_pairs_of_signed_and_of_counted_frames(tmp_path):
    frames(tmp_path / "in" / "a", ["+00", "-10", "+01", "+10"])
    frames(tmp_path / "in" / "b", [f"{n:05}" for n in range(5)])  # the middle one is 2
    frames(tmp_path / "in" / "c", ["notes"])
    listed = [(p.sequence, p.distance, int(p.target[0, 0, 0]), int(p.reference[0, 0, 0])) for p in pairs(tmp_path / "in")]
    assert listed == [("a", -10, 0, 1), ("a", 1, 0, 2), ("a", 10, 0, 3), ("b", -1, 2, 1), ("b", 1, 2, 3)]
    assert [p.distance for p in pairs(tmp_path / "in", distances=(10,))] == [-10, 10]
    assert next(pairs(tmp_path / "in", (4, 6))).target.shape == (6, 4, 3)


def test_the_pair_that_ships_is_two_frames_of_512():
    (pair,) = pairs()
    assert pair.distance is None and pair.target.shape == pair.reference.shape == (512, 512, 3)
    assert 0.001 < np.square(pair.target / 255.0 - pair.reference / 255.0).mean() < 0.2


def test_what_holds_no_pairs_is_refused_in_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    frames(tmp_path / "far" / "a", ["+00", "+07"])
    for name, words in (
        ("empty", "frames that are 1, 3, 5, 10 apart"),
        ("far", "--pairs is far, which has no such frames"),
        ("none", "--pairs is none, no folder"),
    ):
        done = psal("bench", "swap", "--pairs", name)
        assert done.exit_code == 2 and done.stderr.count("\n") == 1 and words in done.stderr
    (tmp_path / "far" / "a" / "+01.png").write_text("no picture")
    done = psal("bench", "reconstruct", "--sizes", 16, "--pairs", "far")
    assert done.exit_code == 2
    with pytest.raises(InputError, match=r"\+01.png is not a picture"):
        list(pairs(tmp_path / "far"))


# -------------------------------------------------------------------------------------------------------- tables 2, 3 and 8


@pytest.mark.slow
def test_reconstruction_has_the_error_of_the_layer_and_leaves_out_what_is_slow():
    results = reconstruct.measure((32,), seconds=1000.0, temperature=0.2)
    rows = {row["layer"]: row for row in results["rows"]}
    (pair,) = pairs(None, (32, 32))
    query, key = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 255 for x in (pair.target, pair.reference))
    expected = (LAYERS["full"].make(0.2, 0)(query, key, key) - query).square().mean().item()
    assert rows["full-1"]["error"] == pytest.approx(expected)
    assert rows["full-1"]["error"] < rows["full-10"]["error"] and rows["psal3"]["error"] < rows["linear"]["error"]
    assert all(row["flop"] > 0 and row["seconds"] > 0 for row in rows.values())
    slow = reconstruct.measure((32,), seconds=1e-9)
    assert {row["status"] for row in slow["rows"]} == {"seconds"} and "too long" in output.text(slow)


def test_papers_figures_stand_where_the_paper_has_them():
    assert reconstruct._paper("full-10", 512) == 0.0022 and reconstruct._paper("linear", 512) == 0.0576
    assert reconstruct._paper("full-5", 256) == 0.0031 and reconstruct._paper("psal3", 256) == 0.0017
    assert reconstruct._paper("full-1", 512) is None and reconstruct._paper("psal3", 1024) is None
    rows = [{"layer": name, "size": 256, "error": error} for name, error in (("full-5", 0.004), ("psal3", 0.002))]
    assert reconstruct.ratios(rows) == {"256": {"error": 2.0, "paper_error": pytest.approx(0.0031 / 0.0017)}}


@pytest.mark.slow
def test_swapping_runs_weights_of_one_layer_with_another(monkeypatch):
    monkeypatch.setattr(swap, "SIZE", 64)
    wanted = (("psal3", "psal3"), ("psal3", "psal1"))
    before = network_of("psal3", swap.ITERATIONS).attention
    rows = swap.measure(wanted=wanted)["rows"]
    assert network_of("psal3", swap.ITERATIONS).attention is before
    (pair,) = pairs(None, (64, 64))
    target, reference = (torch.from_numpy(x.copy()).permute(2, 0, 1)[None].float() / 255 for x in (pair.target, pair.reference))
    with torch.no_grad():
        out = network_of("psal3", swap.ITERATIONS)(grey(target), reference)
    inside = np.s_[..., 7:-7, 7:-7]
    assert rows[0]["error"] == pytest.approx((out[inside] - target[inside]).square().mean().item())
    assert rows[1]["error"] != rows[0]["error"] and rows[1]["paper_error"] == 0.0023 and rows[0]["error_far"] is None


# ------------------------------------------------------------------------------------------------------------------- output


def in_this_process(job):
    """Stands in for `memory._in_process`, where it is not about the process."""
    yield from json.loads(json.dumps(list(memory.run_layer(**job))))


@pytest.fixture(scope="module")
def results():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(memory, "_in_process", in_this_process)
        less_to_measure(patch)
        return memory.measure((16, 24), ("psal3", "linear"), seconds=100.0)


@pytest.mark.slow
def test_the_papers_figures_are_the_last_column(results):
    assert output.table(results).columns[-1] == "paper, GB"
    larger = json.loads(json.dumps(results).replace('"size": 24', '"size": 512').replace('"paper_gb": null', '"paper_gb": 0.18'))
    assert output.table(larger).rows[-1][-1] == "0.18" and "0.18 │" in output.text(larger)
    assert output.markdown(results).splitlines()[1].startswith("| --- | ---: ")


@pytest.mark.slow
def test_csv_and_json_hold_every_row(results):
    rows = list(csv.DictReader(io.StringIO(output.comma_separated(results))))
    assert [(row["layer"], int(row["size"]), row["mode"]) for row in rows] == [
        (row["layer"], row["size"], row["mode"]) for row in results["rows"]
    ]
    assert float(rows[0]["seconds"]) == results["rows"][0]["seconds"]


@pytest.mark.slow
@pytest.mark.parametrize("ending", ["png", "svg", "pdf"])
def test_plots_are_written(results, tmp_path, ending):
    path = tmp_path / f"p.{ending}"
    output.check_plot(path)
    with path.open("wb") as file:
        output.plot(results, file, ending)
    assert path.read_bytes()[:5] in (b"\x89PNG\r", b"<?xml", b"%PDF-")


@pytest.mark.slow
def test_errors_are_plotted_by_memory_and_operations_at_the_largest_size():
    figure = output._figure()
    left, right = figure.subplots(1, 2)
    rows = [{"title": "a", "size": 64, "error": 0.1, "peak_bytes": 10**9, "flop": 2e9}, {"title": "b", "size": 32, "error": 0.2}]
    rows.append({"title": "c", "size": 64, "error": None, "peak_bytes": None, "flop": 1})
    output._plot_errors({"rows": rows}, left, right)
    drawn = [[(*line.get_data(), line.get_label()) for line in axes.lines] for axes in (left, right)]
    assert drawn == [[([1.0], [0.1], "a")], [([2.0], [0.1], "a")]] and left.get_title() == "64x64"


# ------------------------------------------------------------------------------------------------------------------ command


@pytest.mark.slow
def test_the_command_prints_the_table_and_talks_on_stderr(monkeypatch):
    monkeypatch.setattr(memory, "_in_process", in_this_process)
    done = psal("bench", "memory", "--sizes", "16,24", "--layers", "psal3", "--plot", "p.png")
    assert done.exit_code == 0, done.stderr
    assert "PSAL 3" in done.stdout and "psal:" not in done.stdout and "psal: PSAL 3, 24x24, forward + backward: " in done.stderr
    with Image.open("p.png") as drawn:
        assert drawn.size[0] > 500
    done = psal("bench", "memory", "--sizes", "16", "--layers", "psal3", "--json", "-q", "--seed", 5)
    printed = json.loads(done.stdout)
    assert done.stderr == "" and printed["seed"] == 5 and len(printed["rows"]) == 2
    assert (
        printed["machine"]["cores"] >= 1
        and printed["versions"]["torch"] == torch.__version__
        and printed["date"].startswith("20")
    )
    monkeypatch.setattr(reconstruct, "layers", lambda: {"psal3": LAYERS["psal3"]})
    done = psal("bench", "reconstruct", "--sizes", "16", "--csv", "-q")
    assert done.stdout.splitlines()[0].startswith("layer,title,size,status,error")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["memory", "--json", "--csv"], "--json and --csv"),
        (["memory", "--sizes", "8"], "sides from 16 to 8192"),
        (["memory", "--sizes", "64;128"], "is not a list of sides"),
        (["memory", "--layers", "full,softmax"], "'softmax' is not a layer: full, local, linear"),
        (["memory", "--seconds", "0"], "0"),
        (["memory", "--plot", "there.png"], "there.png exists: --force"),
        (["memory", "--plot", "p.xyz"], "--plot is p.xyz, expected a name that ends in one that matplotlib writes"),
        (["memory", "--plot", "none/p.png"], "folder"),
        (["memory", "--device", "cuda"], "--device cpu works everywhere"),
        (["swap", "--table", "9"], "'9' is not one of"),
    ],
)
def test_refusals_are_one_line_before_any_work(monkeypatch, args, words):
    if "cuda" in args and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    monkeypatch.setattr(memory, "measure", lambda *_, **__: pytest.fail("it was begun"))
    Path("there.png").write_text("mine")
    done = psal("bench", *args)
    assert done.exit_code == 2 and done.stdout == "" and done.stderr.count("\n") == 1 and words in done.stderr
    assert Path("there.png").read_text() == "mine" and len(list(Path().iterdir())) == 1


@pytest.mark.slow
def test_without_matplotlib_only_plots_are_missing(monkeypatch):
    monkeypatch.setattr(memory, "_in_process", in_this_process)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    done = psal("bench", "memory", "--sizes", "16", "--layers", "psal3", "--plot", "p.png")
    assert done.exit_code == 2 and "pip install 'psal[plot]'" in done.stderr
    assert psal("bench", "memory", "--sizes", "16", "--layers", "psal3").exit_code == 0


def test_the_command_offers_what_the_bench_has():
    def default(command, option):
        return next(each.default for each in bench.commands[command].params if each.name == option)

    assert tuple(default("memory", "layers").split(",")) == tuple(LAYERS)
    assert default("memory", "seconds") == memory.SECONDS and default("reconstruct", "seconds") == reconstruct.SECONDS
    assert tuple(map(int, default("memory", "sizes").split(","))) == memory.SIZES == reconstruct.SIZES
    assert default("reconstruct", "temperature") == ReconstructOptions.temperature
    assert (
        next(each.default for each in reconstruct_command.params if each.name == "temperature") == ReconstructOptions.temperature
    )


@pytest.mark.subprocess
def test_the_bench_measures_the_installed_package(tmp_path):
    """Not one that happens to lie in the folder at hand."""
    (tmp_path / "psal_cli").mkdir()
    (tmp_path / "psal_cli" / "__init__.py").write_text("raise SystemExit(9)")
    assert {row["status"] for row in memory.measure((16,), ("psal3",))["rows"]} == {"measured"}


def test_settings_are_those_of_the_paper():
    assert layers_module.WINDOW == 49  # the odd one beside 50
    layer = LAYERS["aggregation"].make(1.0, 0)
    assert (layer.patch_size, layer.k, layer.iterations, layer.aggregation) == (7, 1, 5, True)
    assert LAYERS["full"].paper[512] / LAYERS["psal3"].paper[512] == pytest.approx(1389, rel=1e-3)
