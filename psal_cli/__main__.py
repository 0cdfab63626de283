"""The `psal` command's entry: `psal` and `python -m psal_cli`."""

import os
import signal
from types import FrameType


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"psal: interrupted\n")
    os._exit(130)


def main() -> None:
    """Runs the command. A signal while it is still being imported ends it with one line, where Python would print a traceback."""
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so under nohup, or in a test
    if heard:
        signal.signal(signal.SIGINT, _leave)
    from psal_cli.commands import main as command

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    command()


if __name__ == "__main__":
    main()
