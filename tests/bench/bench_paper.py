"""The paper's tables (Cherel et al., arXiv 2202.03163) as `psal bench` measures them, for the page and its plots.

    .venv/bin/python tests/bench/bench_paper.py --write-readme             # all of them, two hours
    .venv/bin/python tests/bench/bench_paper.py --tables memory --from-json

Table 1 at 16 to 512 pixels with all layers and to 4096 with those whose memory allows it; tables 2 and 3 on 20 pairs of DAVIS,
tables 4, 5 and 8 on 80, resized as in the paper. Writes results/<table>.json and, for the README, examples/bench_<table>.png.
"""

import argparse
import json
import sys
from pathlib import Path

from data_folder import add_data_option
from report import RESULTS, ROOT, header, write_json, write_readme

from psal_cli.benchmarks import memory, output, reconstruct, swap
from psal_cli.benchmarks.layers import LAYERS

SMALL, LARGE = (16, 32, 64, 128, 256, 512), (1024, 2048, 4096)
LINEAR = ("linear", "psal3", "aggregation")  # layers whose memory grows with the pixels
SECONDS, LONG = 30.0, 400.0
TABLES = ["memory", "reconstruct", "swap"]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table_1(layers: list[str]) -> dict:
    results = memory.measure(SMALL, tuple(layers), seconds=SECONDS, say=say)
    more = memory.measure(LARGE, tuple(name for name in layers if name in LINEAR), seconds=LONG, say=say)
    return results | {"rows": results["rows"] + more["rows"]}


def measured(name: str, data: Path, layers: list[str]) -> dict:
    if name == "swap":
        before = stored(name)["rows"] if layers else []
        wanted = tuple(pair for pair in swap.PAPER if not layers or pair[0] in layers)
        results = swap.measure(data, wanted=wanted, say=say)
        new = {(row["trained"], row["run"]): row for row in results["rows"]}
        return results | {"rows": [new.get((row["trained"], row["run"]), row) for row in before] or results["rows"]}
    bench, known = (memory, list(LAYERS)) if name == "memory" else (reconstruct, list(reconstruct.NAMES))
    chosen = [layer for layer in layers or known if layer in known]
    results = table_1(chosen) if name == "memory" else reconstruct.measure(folder=data, wanted=tuple(chosen), say=say)
    kept = [] if chosen == known else [row for row in stored(name)["rows"] if row["layer"] not in chosen]
    rows = sorted([*kept, *results["rows"]], key=lambda row: (known.index(row["layer"]), row["size"]))
    return results | {"rows": rows, "ratios": bench.ratios(rows)} | ({"growth": memory.growths(rows)} if name == "memory" else {})


def stored(name: str) -> dict:
    return json.loads((RESULTS / f"paper_{name}.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument(
        "--layers", nargs="+", help="measure these alone (of table 8: trained with them), keep the rows of the others"
    )
    add_data_option(parser, "the sequences of DAVIS", "eval/DAVIS")
    parser.add_argument("--from-json", action="store_true", help="no measuring: the tables of results/")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    arguments = parser.parse_args()
    for name in arguments.tables:
        if arguments.from_json:
            results = stored(name)
        else:
            results = header("torch", "psal") | measured(name, arguments.data, arguments.layers)
            write_json(f"paper_{name}", results)
        print(output.markdown(results))
        if arguments.write_readme:
            write_readme(f"paper-{name}", output.markdown(results))
            with (ROOT / "examples" / f"bench_{name}.png").open("wb") as file:
                output.plot(results, file, "png")


if __name__ == "__main__":
    main()
