"""Shards: one list of pictures split over many machines, which agree on the split without communicating."""

import hashlib
import re
import unicodedata
from dataclasses import dataclass

from psal_cli.batch.inputs import Item
from psal_cli.errors import InvalidValueError

MARK = "{shard}"  # in the name of a file: replaced by the shard


@dataclass(frozen=True)
class Shard:
    """One of `count` shards; number: from 1."""

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def name(self) -> str:
        """For file names that sort like the numbers: "03of12"."""
        return f"{self.number:0{len(str(self.count))}}of{self.count}"

    def has(self, item: Item) -> bool:
        """Whether a picture belongs to this shard; each belongs to exactly one. Only its path below the given folder counts, and
        the mark of several results of one picture, so all machines agree wherever the folder is mounted."""
        if self.count == 1:
            return True
        name = unicodedata.normalize("NFC", f"{item.tree.as_posix()}{item.mark}")  # macOS may list names in decomposed form
        digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()
        return int.from_bytes(digest[:8], "big") % self.count == self.number - 1


ALL = Shard(1, 1)


def parse(text: str) -> Shard:
    """The shard of "I/N". Raises InvalidValueError."""
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise InvalidValueError("shard", text, "I/N with I from 1 to N, e.g. 1/4 for the first of four")
    return Shard(number, count)
