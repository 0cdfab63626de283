"""Names that are addresses on the network: psal reads and writes files, and says so before it takes one for a path."""

import re

URL = re.compile(r"([a-z][a-z0-9+.-]+)://(.*)", re.IGNORECASE | re.DOTALL)
DOWNLOADS = {
    "http": "curl -O {}",
    "https": "curl -O {}",
    "ftp": "curl -O {}",
    "s3": "aws s3 cp {} .",
    "gs": "gcloud storage cp {} .",
}


def url_problem(text: str, written: bool = False) -> str | None:
    """What is wrong with a name that is a URL, and what to do; None for any other name. written: of a result."""
    match = URL.fullmatch(text)
    if match is None:
        return None
    scheme, rest = match[1].lower(), match[2]
    if scheme == "file":
        return f"{text} is a URL: give the path alone, {rest.removeprefix('localhost')}"
    if written:
        return f"{text} is a URL, psal writes local files: write a file, then upload it"
    how = f", e.g. {DOWNLOADS[scheme].format(text)}" if scheme in DOWNLOADS else ""
    return f"{text} is a URL, psal reads local files: download it first{how}"
