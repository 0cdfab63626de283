"""The `psal` command's entry: `psal` and `python -m psal_cli`."""

import os
import signal  # and little else: what is imported before the handler is set is not covered by it
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

    That is while modules are imported, in the moments before and after a verb, which has handlers of its own, and at the end.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not so under nohup, or in a test
        signal.signal(signal.SIGINT, _leave)
    from psal_cli.commands import main as command

    command()


if __name__ == "__main__":
    main()
