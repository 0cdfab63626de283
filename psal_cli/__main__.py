"""Entry point of `psal` and `python -m psal_cli`."""

import os
import signal  # and little else: the handler does not cover earlier imports
import sys


def _leave(number: int, frame: object) -> None:
    try:
        remove_parts = getattr(sys.modules.get("psal_cli.files"), "remove_parts", None)  # it may be half imported
        if remove_parts:
            remove_parts()
        sys.stdout.flush()  # in the middle of a write this is a RuntimeError
    except Exception:
        pass
    os.write(2, b"psal: interrupted\n")
    os._exit(130)


def main() -> None:
    """Runs the command. Ctrl-C ends it with one line wherever Python would print a traceback.

    It covers imports, the moments before and after a verb (verbs have handlers of their own) and the exit.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not under nohup, or in a test
        signal.signal(signal.SIGINT, _leave)
    from psal_cli.commands import main as command

    command()


if __name__ == "__main__":
    main()
