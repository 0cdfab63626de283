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

from report import DAVIS, RESULTS, ROOT, header, write_json, write_readme

from psal_cli.benchmarks import memory, output, reconstruct, swap
from psal_cli.benchmarks.layers import LAYERS

SMALL, LARGE = (16, 32, 64, 128, 256, 512), (1024, 2048, 4096)
LINEAR = ("linear", "psal3", "aggregation")  # layers whose memory grows with the pixels
SECONDS, LONG = 30.0, 400.0
TABLES = ["memory", "reconstruct", "swap"]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table_1(layers: list[str], kept: list[dict]) -> dict:
    """kept: rows of other layers that were measured before."""
    results = memory.measure(SMALL, tuple(layers), seconds=SECONDS, say=say)
    more = memory.measure(LARGE, tuple(name for name in layers if name in LINEAR), seconds=LONG, say=say)
    order = list(LAYERS)
    rows = sorted([*kept, *results["rows"], *more["rows"]], key=lambda row: (order.index(row["layer"]), row["size"]))
    return results | {"rows": rows, "growth": memory.growths(rows), "ratios": memory.ratios(rows)}


def measured(name: str, data: Path, layers: list[str]) -> dict:
    if name == "reconstruct":
        return reconstruct.measure(folder=data, say=say)
    if name == "swap":
        return swap.measure(data, wanted=tuple(swap.PAPER), say=say)
    kept = [] if set(layers) == set(LAYERS) else stored(name)["rows"]
    return table_1(layers, [row for row in kept if row["layer"] not in layers])


def stored(name: str) -> dict:
    return json.loads((RESULTS / f"paper_{name}.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--layers", nargs="+", choices=LAYERS, default=list(LAYERS), help="of table 1; rows of others are kept")
    parser.add_argument("--data", type=Path, default=DAVIS, help="the folder with the sequences")
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
