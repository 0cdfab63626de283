"""Fetches the photographs of colour_pairs.toml that lie in public repositories: for measuring only, never to be committed.

    .venv/bin/python tests/bench/gather_colour_pairs.py

Each is kept as it is in psal's state folder; what is there already is left alone. With --mirrors, repositories are read from git
directories of that folder, <owner>+<name>/repo, where they are there; the others are cloned from GitHub.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

from colour_pairs import GATHERED, PARTS, gathered_file, listed


def wanted() -> dict[str, list[str]]:
    """Paths by repository, owner/name."""
    found: dict[str, list[str]] = {}
    for source in sorted({source for part in PARTS for _, *both in listed(part) for source in both if ":" in source}):
        repository, path = source.split(":", 1)
        found.setdefault(repository, []).append(path)
    return found


def gather(repository: str, paths: list[str], git: Path, folder: Path) -> None:
    """Writes files of a git directory to where `colour_pairs` looks for them."""
    for path in paths:
        file = gathered_file(f"{repository}:{path}", folder)
        content = subprocess.run(["git", "-C", str(git), "show", f"HEAD:{path}"], capture_output=True, check=True).stdout
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirrors", type=Path, help="a folder of git directories, <owner>+<name>/repo")
    parser.add_argument("--output", type=Path, default=GATHERED)
    arguments = parser.parse_args()
    for repository, paths in wanted().items():
        missing = [path for path in paths if not gathered_file(f"{repository}:{path}", arguments.output).exists()]
        mirror = arguments.mirrors and arguments.mirrors / repository.replace("/", "+") / "repo"
        if missing and mirror and mirror.exists():
            gather(repository, missing, mirror, arguments.output)
        elif missing:
            with tempfile.TemporaryDirectory() as place:
                url = f"https://github.com/{repository}"
                subprocess.run(["git", "clone", "-q", "--bare", "--depth", "1", url, place], check=True)
                gather(repository, missing, Path(place), arguments.output)
        print(f"{repository}: {len(paths)} photographs, {len(missing)} of them new")


if __name__ == "__main__":
    main()
