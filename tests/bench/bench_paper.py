"""The paper's tables (Cherel et al., arXiv 2202.03163) as `psal bench` measures them, for the page and its plots.

    .venv/bin/python tests/bench/bench_paper.py --write-readme             # all of them, two hours
    .venv/bin/python tests/bench/bench_paper.py --tables memory --from-json

Table 1 at 16 to 512 pixels with all layers and to 4096 with those whose memory allows it; tables 2 and 3 on 20 pairs of DAVIS,
tables 4, 5 and 8 on 80, resized as in the paper. Writes results/<table>.json and, for the README, examples/bench_<table>.png.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

from report import RESULTS, ROOT, header, write_json, write_readme

from psal_cli.benchmarks import memory, output, reconstruct, swap
from psal_cli.benchmarks.layers import LAYERS

DATA = ROOT.parent / "shared/data/eval/DAVIS"
SMALL, LARGE = (16, 32, 64, 128, 256, 512), (1024, 2048, 4096)
LINEAR = ("linear", "reformer", "psal3", "aggregation")  # layers whose memory grows with the pixels
SECONDS, LONG = 30.0, 400.0


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def table_1(data: Path) -> dict:
    results = memory.measure(SMALL, seconds=SECONDS, say=say)
    more = memory.measure(LARGE, LINEAR, seconds=LONG, say=say)
    order = list(LAYERS)
    rows = sorted(results["rows"] + more["rows"], key=lambda row: (order.index(row["layer"]), row["size"]))
    return results | {"rows": rows, "growth": memory.growths(rows)}


TABLES: dict[str, Callable[[Path], dict]] = {
    "memory": table_1,
    "reconstruct": lambda data: reconstruct.measure(folder=data, say=say),
    "swap": lambda data: swap.measure(data, wanted=tuple(swap.PAPER), say=say),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--data", type=Path, default=DATA, help="the folder with the sequences")
    parser.add_argument("--from-json", action="store_true", help="no measuring: the tables of results/")
    parser.add_argument("--write-readme", action="store_true", help="also put the tables into tests/bench/README.md")
    arguments = parser.parse_args()
    for name in arguments.tables:
        if arguments.from_json:
            results = json.loads((RESULTS / f"paper_{name}.json").read_text())
        else:
            results = header("torch", "psal") | TABLES[name](arguments.data)
            write_json(f"paper_{name}", results)
        print(output.markdown(results))
        if arguments.write_readme:
            write_readme(f"paper-{name}", output.markdown(results))
            with (ROOT / "examples" / f"bench_{name}.png").open("wb") as file:
                output.plot(results, file, "png")


if __name__ == "__main__":
    main()
