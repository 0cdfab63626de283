"""Reports of batches: JSON lines, one for each picture, written by the shards and merged afterwards.

Each run begins with a line that states its shard and its number of pictures, so that pictures a killed process never reached
are noticed. A run appends to an existing report.
"""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TypeGuard

from psal_cli.batch.plan import make_folders
from psal_cli.batch.shards import ALL, Shard, parse
from psal_cli.errors import InputError
from psal_cli.files import unwritten

log = logging.getLogger(__name__)

Record = dict[str, object]
Key = tuple[str, str]  # input and output of a result
LONGEST = 1 << 20  # bytes of a line
BEGIN = b'{"shard": "'
DONE = ("done", "copied")  # statuses of pictures whose result this batch has made


class Writer:
    """Writes a report. A crash at any moment leaves complete lines only.

    Raises WriteError, and InputError if the file exists and is not a report.
    """

    def __init__(self, path: Path, shard: Shard, pictures: int):
        """pictures: the number of pictures in the shard."""
        self.path = path
        check(path)
        make_folders([path])
        try:
            self.file: IO[bytes] = open(path, "a+b", buffering=0)  # noqa: SIM115  # closed by `close`
            self._cut_torn_line()
        except OSError as error:
            raise unwritten(path, error) from error
        self.write({"shard": str(shard), "pictures": pictures})

    def _cut_torn_line(self) -> None:
        """Removes an incomplete last line, left by a power cut or a full disk."""
        start = max(0, self.file.seek(0, os.SEEK_END) - LONGEST)
        self.file.seek(start)
        self.file.truncate(start + self.file.read().rfind(b"\n") + 1)

    def write(self, record: Record) -> None:
        """Adds a line with one system call. Raises WriteError, and then writes nothing."""
        line = json.dumps(record).encode() + b"\n"
        end = self.file.seek(0, os.SEEK_END)
        try:
            written = self.file.write(line)
            if written != len(line):  # the disk is full: the next write raises the error
                self.file.write(line[written:])
        except OSError as error:
            self.file.truncate(end)
            raise unwritten(self.path, error) from error

    def close(self) -> None:
        try:
            os.fsync(self.file.fileno())
            self.file.close()
        except OSError as error:
            raise unwritten(self.path, error) from error


def check(path: Path) -> None:
    """Raises InputError if the file exists and is not a report."""
    try:
        with path.open("rb") as file:
            first = file.readline(LONGEST)
    except OSError:  # it does not exist, or writing will report the error
        return
    whole = first.endswith(b"\n")
    if not (_is_header(_parsed(first)) if whole else BEGIN.startswith(first[: len(BEGIN)])):
        raise InputError(f"{path} exists and is not a report of psal: give another name")


@dataclass
class Batch:
    """The merged content of reports.

    Attributes:
        records: the last record of each result, in the order in which the results were first reported.
        reported: the keys of the results that each shard has reported.
        announced: the number of pictures of each shard, stated when it last began.
    """

    records: dict[Key, Record] = field(default_factory=dict)
    reported: dict[Shard, set[Key]] = field(default_factory=dict)
    announced: dict[Shard, int] = field(default_factory=dict)

    def add(self, path: Path) -> None:
        """Adds the content of a report. Raises InputError if the file is not a report or cannot be read."""
        shard = ALL
        for number, record in _lines(path):
            if _is_header(record):
                shard = parse(str(record["shard"]))
                self.announced[shard] = int(str(record["pictures"]))
            elif record is None or not isinstance(record.get("input"), str) or not isinstance(record.get("status"), str):
                if number == 1:
                    raise InputError(f"{path} is not a report of psal")
                log.warning("%s: line %d is damaged: left out", path, number)
            else:
                key = (str(record["input"]), str(record.get("output")))
                before = self.records.get(key)
                if not (before and before["status"] in DONE and record.get("reason") == "exists"):
                    self.records[key] = record  # "exists" must not replace an earlier attempt's own record
                self.reported.setdefault(shard, set()).add(key)

    def gaps(self) -> dict[Shard, int | None]:
        """The number of pictures without a record in each incomplete shard, whose process was killed; None for a shard without a
        report. Empty if all shards of some split are complete, as these contain all pictures."""
        gaps: dict[Shard, int | None] = {}
        for count in sorted({shard.count for shard in self.announced}):
            split = {shard: self._lacking(shard) for shard in (Shard(number, count) for number in range(1, count + 1))}
            lacking = {shard: number for shard, number in split.items() if number != 0}
            if not lacking:
                return {}
            gaps |= lacking
        return gaps

    def _lacking(self, shard: Shard) -> int | None:
        if shard not in self.announced:
            return None
        return max(0, self.announced[shard] - len(self.reported.get(shard, ())))


def _lines(path: Path) -> Iterator[tuple[int, Record | None]]:
    """(number, record) of each complete line; the record is None if the line is not a JSON object."""
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.endswith(b"\n") and line.strip():
                    yield number, _parsed(line)
                elif not line.endswith(b"\n"):
                    log.warning("%s: line %d is cut off: left out", path, number)
    except OSError as error:
        raise InputError(f"{path}: the report cannot be read: {error.strerror}") from error


def _parsed(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _is_header(record: Record | None) -> TypeGuard[Record]:
    if record is None or record.keys() != {"shard", "pictures"} or not isinstance(record["pictures"], int):
        return False
    try:
        parse(str(record["shard"]))
    except InputError:
        return False
    return True
