"""Other people's pictures through the verbs: exit codes, outputs, what is left behind, and tags that are lost unsaid.

    python tests/bench/foreign_pictures.py gather CLONE... --to pictures/
    nice python tests/bench/foreign_verbs.py pictures/ --done done.jsonl [--most 500] [--verbs colorize,generate]

Each picture goes through each verb as a command in this process, in one of the formats that psal writes, in turn. A line of
JSON a case is added to --done: a run that was ended goes on where it stopped. `problems` of a case: an exit code other than 0
and 2, lines on stderr that are not psal's, an output that is missing, of another size or not read, a file left behind, no end
after --limit CPU seconds, and tags that exiftool finds before and not after although psal said nothing about the file.
"""

import argparse
import contextlib
import hashlib
import io
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from foreign_pictures import TARGETS, is_elsewhere, tags_of
from PIL import Image
from report import header, write_json, write_readme

from psal_cli.benchmarks.machine import where
from psal_cli.benchmarks.output import markdown_table
from psal_cli.commands import main as psal
from psal_cli.errors import PsalError
from psal_cli.image import READABLE, read_header, read_picture

VERBS = ("inpaint", "colorize", "generate", "reconstruct")
FORMATS = (*TARGETS, "bmp")
USUAL = (": done in ", "of it are guesses", "has colours: they are left out", ": copied in ", "its alpha is flattened")
GROUP = 20  # pictures that exiftool is asked about at once


class TookTooLongError(BaseException):
    """Raised by the alarm; no Exception, so that psal does not make a line of it."""


def pictures(folder: Path, most: int, pixels: int) -> list[Path]:
    """Picture files of different content, small enough, evenly chosen; unreadable ones belong to them."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in READABLE and path.is_file():
            with contextlib.suppress(PsalError):
                header = read_header(path, profiles=False)
                if header.width * header.height > pixels:
                    continue
            found.setdefault(hashlib.sha256(path.read_bytes()).hexdigest(), path)
    files = list(found.values())
    return files[:: max(1, len(files) // most)][:most]


def arguments(verb: str, picture: Path, output: Path, partner: Path) -> list[str]:
    """The command line of one case."""
    own = {
        "inpaint": ["--box", "1,1,3,3", "--patch-size", "3"],
        "colorize": ["--ref", str(partner)],
        "generate": ["--method", "psin"],  # psinot reads and writes in the same way, and takes ten times as long
        "reconstruct": ["--from", str(partner)],
    }[verb]
    return [verb, str(picture), "-o", str(output), "--background", "white", "--threads", "1", *own]


def run(command: list[str], limit: int) -> tuple[int | None, str]:
    """(exit code or None after `limit` CPU seconds, stderr) of the command in this process."""

    def stop(*_: object) -> None:
        raise TookTooLongError

    said, code = io.StringIO(), 0
    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, limit)
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            psal(command)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except TookTooLongError:
        return None, said.getvalue()
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
    return code, said.getvalue()


def problems(code: int | None, said: str, picture: Path, output: Path, folder: Path) -> list[str]:
    """What is wrong with a case, but for tags."""
    wrong = []
    if code not in (0, 2):
        wrong.append(f"exit code {code}")
    lines = said.splitlines()
    if "internal error" in said or not all(line.startswith("psal: ") for line in lines):
        wrong.append(f"said: {said[-600:]}")
    if (code == 0) != output.exists():
        wrong.append(f"exit code {code}, the output {'exists' if output.exists() else 'is missing'}")
    elif output.exists():
        try:
            stored, header = read_picture(output), read_header(picture, profiles=False)
            if stored.size != (header.width, header.height):
                wrong.append(f"{stored.size} became of {header.width}x{header.height}")
        except PsalError as error:
            wrong.append(f"the output is not read: {error}")
    left = {path.name for path in folder.iterdir()} - {output.name, "partner.png"}
    return wrong + [f"left behind: {', '.join(sorted(left))}"] * bool(left)


def warnings(said: str) -> list[str]:
    """The lines that speak of something lost, of what psal said."""
    return [line for line in said.splitlines() if not any(words in line for words in USUAL)]


def silent(before: dict[str, object], after: dict[str, object]) -> list[str]:
    """Tags that are gone or say something else, but for empty ones."""
    values = {str(value) for value in after.values()}
    return [
        n for n, value in before.items() if value != "" and after.get(n) != value and not is_elsewhere(n, value, after, values)
    ]


def cases(files: list[Path], verbs: list[str], done: set[str], limit: int) -> Iterator[dict]:
    """Runs what is not done; yields a record a case."""
    rng = np.random.default_rng(0)
    for start in range(0, len(files), GROUP):
        with tempfile.TemporaryDirectory() as temporary:
            records, outputs = [], []
            for number, picture in enumerate(files[start : start + GROUP], start):
                for at, verb in enumerate(verbs):
                    if f"{verb} {picture}" in done:
                        continue
                    folder = Path(temporary, f"{number}_{verb}")
                    folder.mkdir()
                    partner = folder / "partner.png"
                    Image.fromarray(rng.integers(0, 256, (40, 48, 3), dtype=np.uint8)).save(partner)
                    output = folder / f"out.{FORMATS[(number + at) % len(FORMATS)]}"
                    began = time.process_time()
                    code, said = run(arguments(verb, picture, output, partner), limit)
                    wrong = problems(code, said, picture, output, folder)
                    said = said.replace(str(folder), "OUT")
                    record = {"case": f"{verb} {picture}", "to": output.suffix, "code": code, "said": said, "problems": wrong}
                    records.append(record | {"seconds": round(time.process_time() - began, 2)})
                    outputs.append(output)
            if records:
                tags = tags_of([*files[start : start + GROUP], *(path for path in outputs if path.exists())])
                for record, output in zip(records, outputs, strict=True):
                    picture = record["case"].split(" ", 1)[1]
                    if output.exists() and output.suffix != ".bmp" and not warnings(record["said"]):
                        lost = silent(tags.get(picture, {}), tags.get(str(output), {}))
                        record["problems"] += [f"lost unsaid: {', '.join(lost)}"] * bool(lost)
                    yield record


def counts(records: list[dict]) -> dict[str, dict]:
    """{verb: what became of its pictures, and the formats they were written in}."""
    found = {}
    for verb in VERBS:
        own = [record for record in records if record["case"].startswith(f"{verb} ")]
        codes = Counter(record["code"] for record in own)
        if own:
            found[verb] = {
                "pictures": len(own),
                "done": codes[0],
                "refused": codes[2],
                "with a problem": sum(any(not one.startswith("lost unsaid") for one in record["problems"]) for record in own),
                "tags lost unsaid": sum(any(one.startswith("lost unsaid") for one in record["problems"]) for record in own),
                "formats": dict(sorted(Counter(record["to"][1:] for record in own if record["code"] == 0).items())),
            }
    return found


def summary(results: dict) -> str:
    """A markdown table: a row a verb."""
    verbs = results["verbs"]
    columns = [name for name in next(iter(verbs.values())) if name != "formats"]
    rows = [[verb, *(own[name] for name in columns)] for verb, own in verbs.items()]
    total = sum((Counter(own["formats"]) for own in verbs.values()), Counter[str]())
    formats = ", ".join(f"{number} {name}" for name, number in sorted(total.items()))
    return f"{markdown_table(['verb', *columns], rows)}\n\nWritten: {formats}. {where(results)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--done", type=Path, required=True, help="a line of JSON a case: what is there is not run again")
    parser.add_argument("--verbs", default=",".join(VERBS))
    parser.add_argument("--most", type=int, default=500)
    parser.add_argument("--pixels", type=int, default=100_000, help="larger pictures are left out")
    parser.add_argument("--limit", type=int, default=120, help="CPU seconds")
    parser.add_argument("--write-readme", action="store_true")
    chosen = parser.parse_args()
    kept = [json.loads(line) for line in chosen.done.read_text().splitlines()] if chosen.done.exists() else []
    files = pictures(chosen.folder, chosen.most, chosen.pixels)
    sys.stderr.write(f"{len(files)} pictures\n")
    with chosen.done.open("a") as sink:
        for record in cases(files, chosen.verbs.split(","), {record["case"] for record in kept}, chosen.limit):
            kept.append(record)
            sink.write(json.dumps(record) + "\n")
            sink.flush()
            for wrong in record["problems"]:
                sys.stderr.write(f"{record['case']} to {record['to']}: {wrong}\n")
    results = header("psal", "pillow") | {"verbs": counts(kept)}
    print(summary(results))
    if chosen.write_readme:
        write_json("foreign_verbs", results)
        write_readme("foreign-verbs", summary(results))


if __name__ == "__main__":
    main()
