"""What psal does on a file system that lacks what Linux's own have: whole outputs, nothing lost, nothing left behind.

    python tests/bench/disk_trials.py /mnt/stick [--name vfat] [--kills 60] [--write-readme]
    python tests/bench/disk_kernels.py            # the same on vfat and NFS of a kernel in user space

The outputs of every trial are compared with those of the same batch in the folder of temporary files. A trial gives a list of
what is wrong. `kills` is `kill_phases.py` in that folder, with a run at the end that has to remove what the killed ones left.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import kill_phases
import numpy as np
import torch
from foreign_verbs import run
from kill_files import OLD, files_in, make_inputs
from PIL import Image
from report import RESULTS, header, write_json, write_readme

from psal_cli.benchmarks.output import markdown_table

PICTURES = 10
LIMIT = 600  # CPU seconds of a command
STRANGE = ("dot.", "space ", "a:b", "what?", "pipe|", "star*", "größe 日本", "x" * 251)


def batch(photos: Path, out: Path, *more: str) -> tuple[int | None, str]:
    """(exit code, stderr) of a batch of `psal inpaint`."""
    given = ["inpaint", str(photos / "photos"), "-r", "--mask", str(photos / "masks"), "-o", str(out), "--engine", "patch"]
    return run([*given, "--threads", "1", *more], LIMIT)


class Disk:
    """folder: on the file system that is tried; photos: pictures and masks elsewhere; expected: their outputs."""

    def __init__(self, folder: Path, photos: Path):
        self.folder, self.photos = folder, photos
        make_inputs(photos, PICTURES)
        if (found := batch(photos, photos / "out"))[0]:
            raise SystemExit(f"the batch that is compared with failed: {found}")
        self.expected = files_in(photos / "out")

    def fresh(self, name: str) -> Path:
        (made := self.folder / name).mkdir()
        return made

    def ignores_case(self) -> bool:
        (probe := self.folder / "Probe").touch()
        return probe.with_name("probe").exists()

    def picture(self, path: Path) -> Path:
        """A small picture, as PNG whatever its name."""
        Image.fromarray(np.full((20, 24, 3), 90, np.uint8)).save(path, "png")
        return path


def whole(disk: Disk, found: tuple[int | None, str], out: Path, code: int = 0) -> list[str]:
    """What is wrong with a batch that should have ended with `code` and all outputs."""
    wrong = [f"exit code {found[0]}: {found[1][-300:]}"] * (found[0] != code)
    digests = files_in(out)
    wrong += [
        f"{name} is {'another' if name in digests else 'missing'}"
        for name, digest in disk.expected.items()
        if digests.get(name) != digest
    ]
    return wrong + [f"left behind: {name}" for name in digests.keys() - disk.expected.keys()]


def results_are_the_same(disk: Disk) -> list[str]:
    out = disk.folder / "same"
    return whole(disk, batch(disk.photos, out), out)


def photos_on_the_disk(disk: Disk) -> list[str]:
    """Pictures, masks and outputs all on the disk; then everything is skipped."""
    photos = disk.fresh("photos")
    make_inputs(photos, PICTURES)
    before = files_in(photos)
    wrong = whole(disk, batch(photos, photos / "out"), photos / "out")
    wrong += whole(disk, batch(photos, photos / "out", "--skip-existing"), photos / "out", 3)
    return wrong + ["an input has changed"] * (not before.items() <= files_in(photos).items())


def older_files(disk: Disk) -> list[str]:
    """Nothing is replaced without --force, everything with it."""
    out = disk.fresh("older")
    for name in disk.expected:
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(OLD)
    code, _ = batch(disk.photos, out)
    wrong = [f"without --force: exit code {code}"] * (code not in (1, 2))
    wrong += [f"replaced without --force: {name}" for name in disk.expected if (out / name).read_bytes() != OLD]
    return wrong + whole(disk, batch(disk.photos, out, "--force"), out)


def names_of_one_place(disk: Disk) -> list[str]:
    """`A.png` and `a.png`: two outputs, or a refusal before any work where they are one."""
    photos, out = disk.photos / "twins", disk.folder / "twins"
    photos.mkdir()
    names = ["A.png", "a.png"]
    for name in names:
        disk.picture(photos / name)
    code, said = run(["inpaint", str(photos), "-o", str(out), "--box", "3,3,5,5", "--force", "--threads", "1"], LIMIT)
    there = sorted(path.name for path in out.iterdir()) if out.exists() else []
    one = disk.ignores_case()
    return [] if (code, there) == ((2, []) if one else (0, names)) else [f"exit code {code}, {there}, {said[-300:]}"]


def mask_of_another_case(disk: Disk) -> list[str]:
    """An output that is the mask, but for the case of its name, where the disk ignores it."""
    place = disk.fresh("masked")
    picture, mask = disk.picture(place / "picture.png"), place / "Mask.png"
    hole = np.zeros((20, 24), np.uint8)
    hole[5:9, 5:9] = 255
    Image.fromarray(hole).save(mask)
    before = mask.read_bytes()
    given = ["inpaint", str(picture), "--mask", str(mask), "-o", str(place / "mask.PNG"), "--force", "--threads", "1"]
    code, said = run(given, LIMIT)
    wrong = [f"exit code {code}: {said[-300:]}"] * (code != (2 if disk.ignores_case() else 0))
    return wrong + ["the mask was overwritten"] * (mask.read_bytes() != before)


def strange_names(disk: Disk) -> list[str]:
    """Names that the disk may not take: written under that very name, or one line and no file."""
    source, wrong = disk.picture(disk.photos / "plain.png"), []
    for at, name in enumerate(STRANGE):
        place = disk.fresh(f"strange{at}")
        output = place / f"{name}.png"
        code, said = run(["inpaint", str(source), "-o", str(output), "--box", "3,3,5,5", "--threads", "1"], LIMIT)
        there = os.listdir(place)
        refused = code in (1, 2) and not there and all(line.startswith("psal: ") for line in said.splitlines())
        fine = there == [output.name] if code == 0 else refused
        wrong += [] if fine else [f"{name!r}: exit code {code}, {there}, {said[-300:]}"]
    return wrong


def two_at_once(disk: Disk) -> list[str]:
    """Two processes with --skip-existing in one folder."""
    out = disk.fresh("two")
    processes = []
    for _ in range(2):
        process = os.fork()
        if not process:
            os._exit(batch(disk.photos, out, "--skip-existing")[0] or 0)
        processes.append(process)
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]
    wrong = [f"exit codes {codes}"] * any(code not in (0, 3) for code in codes)
    return wrong + whole(disk, (0, ""), out)


def full_disk(disk: Disk) -> list[str]:
    """The disk is full: exit code 1, a line that says so, no output and nothing left behind. Only where it is small."""
    if (free := os.statvfs(disk.folder)).f_bavail * free.f_frsize > 1 << 30:
        return []
    ballast, out = disk.folder / "ballast", disk.fresh("full")
    try:
        with ballast.open("wb", buffering=0) as file:
            while file.write(bytes(1 << 16)) == 1 << 16:
                pass
    except OSError:
        pass
    code, said = batch(disk.photos, out)
    left = files_in(out)
    ballast.unlink()
    wrong = [f"exit code {code}: {said[-300:]}"] * (code != 1 or "space" not in said)
    wrong += [f"not whole: {name}" for name, digest in left.items() if disk.expected.get(name) != digest]
    return wrong


TRIALS: dict[str, Callable[[Disk], list[str]]] = {
    "outputs are those of another disk": results_are_the_same,
    "pictures and masks on it too; then all are skipped": photos_on_the_disk,
    "older files stay without `--force`": older_files,
    "`A.png` and `a.png`": names_of_one_place,
    "an output that is the mask in another case": mask_of_another_case,
    "names that it may not take": strange_names,
    "two processes, `--skip-existing`": two_at_once,
    "full disk": full_disk,
}


def has_unnamed_files(folder: Path) -> bool:
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY))
    except OSError:
        return False
    return True


def kills(folder: Path, number: int) -> list[str]:
    """Kills in every phase; then a batch that has to remove what they left."""
    ways = kill_phases.WAYS if has_unnamed_files(folder) else kill_phases.WAYS[1:]
    phases = kill_phases.run(folder, 6, number, 0, ways)
    wrong = [what for own in phases.values() for what in own["failures"]]
    left = list(folder.rglob("*.part"))
    for path in (folder / "photos", folder / "masks", folder / "out"):
        if not path.is_dir():
            wrong.append(f"{path.name} is gone")
    code, said = batch(folder, folder / "out", "--force")
    wrong += [f"the run after the kills: exit code {code}: {said[-300:]}"] * (code != 0)
    wrong += [f"left for good: {path.name}" for path in folder.rglob("*.part")]
    sys.stderr.write(f"{len(left)} temporary files before the last run\n")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--name", default="", help="of the file system, in the table")
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--write-readme", action="store_true", help="put the table of all file systems tried into README.md")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, list[str]] = {}
    with tempfile.TemporaryDirectory() as photos, tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        disk = Disk(Path(folder), Path(photos))
        for name, trial in TRIALS.items():
            found[name] = trial(disk)
            sys.stderr.write(f"{name}: {found[name] or 'right'}\n")
        found["kills, what they leave is removed"] = kills(disk.fresh("kills"), chosen.kills)
    stored = RESULTS / "disks.json"
    disks = json.loads(stored.read_text())["disks"] if stored.exists() else {}
    name = f"{chosen.name or chosen.folder}, {platform.system()} {platform.release()}"
    results = header("psal", "torch") | {"disks": disks | {name: found}}
    write_json("disks", results)
    print(markdown(results))
    if chosen.write_readme:
        write_readme("disks", markdown(results))
    if any(found.values()):
        raise SystemExit("\n".join(f"{name}: {what}" for name, wrong in found.items() for what in wrong))


def markdown(results: dict) -> str:
    disks = results["disks"]
    trials = list(dict.fromkeys(name for found in disks.values() for name in found))
    rows = [
        [trial, *("; ".join(found[trial]) or "right" if trial in found else "" for found in disks.values())] for trial in trials
    ]
    return f"{markdown_table(['trial', *disks], rows)}\n\n{results['date']}."


if __name__ == "__main__":
    main()
