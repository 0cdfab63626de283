"""`psal doctor`: what is installed, how it was built, and which device works."""

import importlib
import json
import platform
import sys
from contextlib import suppress

import click

from psal_cli import __version__
from psal_cli.batch.runner import deferred_signals
from psal_cli.commands import configuration, devices
from psal_cli.commands.command import Command
from psal_cli.errors import PsalError

MODULES = {"torch": "torch", "numpy": "numpy", "pillow": "PIL", "opencv": "cv2"}


@click.command(cls=Command, short_help="Versions, build and device.", epilog="\b\nExample:\n  psal doctor")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def doctor(ctx: click.Context, as_json: bool) -> None:
    """Print versions, the build of psal's library, the device that would be chosen and why, and the configuration files.

    Ends with exit code 1 and a cure if the library does not load.
    """
    facts, problem = examine()
    read, own = configuration.read_files(ctx), configuration.user_file()
    facts["configuration"] = [str(path) for path in read]
    facts["user_configuration"] = str(own) if own.is_file() else f"{own} (no such file)"
    if as_json:
        click.echo(json.dumps(facts))
    else:
        width = max(map(len, facts))
        for name, value in facts.items():
            text = ", ".join(value) if isinstance(value, list) else value
            click.echo(f"{name.replace('_', ' '):{width}}  {'none' if text in (None, '') else text}")
    if problem:
        raise problem
    for path in read:
        configuration.check(ctx, path)


def examine() -> tuple[dict[str, object], PsalError | None]:
    """The facts, None for unavailable ones, and what keeps psal from working, if anything."""
    python = f"{platform.python_version()} ({sys.executable})"
    versions: dict[str, object] = {"psal": __version__, "python": python, "system": platform.platform()}
    names = ("cpu_kernels", "cpu_lacks", "cuda_architectures", "threads", "device", "reason")
    facts: dict[str, object] = dict.fromkeys(names)
    problem = None
    for name, module in MODULES.items():
        try:
            with deferred_signals():
                versions[name] = importlib.import_module(module).__version__
        except ImportError as error:
            versions[name] = None
            problem = problem or PsalError(f"{name} does not load ({error}): install psal anew with `pip install .`")
    if problem is None:
        try:
            facts["device"], facts["reason"] = devices.choose_device("auto")
            facts |= _build()
        except PsalError as error:
            problem = error
    return versions | facts, problem


def _build() -> dict[str, object]:
    from psal_cli import native

    lacks = native.missing_instructions()
    architectures: str | None = None
    with suppress(ImportError):  # the reason for the device covers it
        architectures = native.cuda_architectures()
    return {
        "cpu_kernels": native.cpu_isa(),
        "cpu_lacks": f"{lacks}: psal is slower, and fields may differ from those of other machines" if lacks else "",
        "cuda_architectures": architectures,
        "threads": devices.set_threads(None),
    }
