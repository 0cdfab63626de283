"""How much a guide can be worth: `psal inpaint` with no painter, with the network that ships and with painters that know the
truth.

    .venv/bin/python tests/bench/bench_oracle.py --part choose        # before a long training: what it can be worth
    .venv/bin/python tests/bench/bench_oracle.py --write-readme       # the report

A row is named by its painter, the inner radius of the hole in pixels at the level where it is drawn, and the weight of the guide.
"""

import argparse
import sys
from pathlib import Path

from inpaint_compare import line, table
from inpaint_figures import figures
from inpaint_fills import timed
from inpaint_options import add_case_options, add_run_options, chosen_cases, set_threads
from inpaint_oracle import SETTINGS, TODAY, oracle
from inpaint_rows import Row, finite, head, markdown, summarise
from report import RESULTS, header, write_json, write_readme


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="What a perfect guide would be worth to psal inpaint.")
    add_case_options(parser)
    add_run_options(parser)
    parser.add_argument("--json", type=Path, default=RESULTS, help="folder for oracle.json, of the report with --write-readme")
    parser.add_argument("--write-readme", action="store_true", help="write the table and oracle.json")
    return parser.parse_args()


def run(arguments: argparse.Namespace) -> list[Row]:
    """A row for each case and setting; a case's settings run one after the other, so that noise of the machine meets all."""
    rows: list[Row] = []
    for case in chosen_cases(arguments):
        own = []
        for setting in SETTINGS:
            made = timed(oracle(setting, case.truth, case.mask), case)
            spent = {"seconds": made.seconds, "cpu_seconds": made.cpu_seconds}
            own.append(head(case, setting.name, None) | figures(made.fill, case.truth, case.mask) | spent)
        rows += own
        print(f"{case.name}: {' '.join(format(row['psnr'], '.2f') for row in own)}", file=sys.stderr)
    return rows


def main() -> int:
    arguments = parse()
    set_threads(arguments.threads)
    try:
        rows = run(arguments)
    except FileNotFoundError as error:
        print(error, file=sys.stderr)
        return 2
    names = [setting.name for setting in SETTINGS]
    summary = summarise(rows, names)
    own = {name: [row for row in rows if row["method"] == name] for name in names}
    lines = [line(name, own[TODAY.name], own[name]) for name in names if name != TODAY.name]
    tables = [markdown(summary, "all", {}), table(f"beside {TODAY.name}", lines)]
    print("\n\n".join(tables))
    if arguments.write_readme:
        options = {"part": arguments.part, "seed": arguments.seed}
        context = header("torch", "numpy", "opencv-python-headless", "psal")
        write_json(
            "oracle", {**context, "options": options, "summary": summary, "rows": [finite(row) for row in rows]}, arguments.json
        )
        write_readme("oracle", "\n\n".join(tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
