"""Turns a checkpoint into a file of weights/ and enters it in the manifest.

python -m psal_cli.training.export out/training/descriptor.pt colorize-descriptor
"""

import hashlib
import json
import tomllib
from pathlib import Path

import click
import torch
from safetensors.torch import save

FOLDER = Path(__file__).parents[2] / "weights"


@click.command()
@click.argument("checkpoint", type=click.Path(path_type=Path))
@click.argument("name")
@click.option("--half", is_flag=True, help="Store float16.")
def main(checkpoint: Path, name: str, half: bool) -> None:
    """Writes weights/NAME.safetensors from CHECKPOINT, with what made it, and its line of the manifest."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    sizes = {key: list(x.shape) for key, x in state["model"].items()}
    about = {
        "architecture": state["architecture"],
        "sizes": json.dumps(sizes),
        "recipe": json.dumps(state["recipe"]),
        "steps": str(state["step"]),
        "revision": state["revision"],
    }
    dtype = torch.float16 if half else torch.float32
    content = save({key: x.to(dtype).contiguous() for key, x in state["model"].items()}, metadata=about)
    (FOLDER / f"{name}.safetensors").write_bytes(content)
    _enter(name, hashlib.sha256(content).hexdigest())


def _enter(name: str, digest: str) -> None:
    path = FOLDER / "manifest.toml"
    entries = tomllib.loads(path.read_text()) if path.exists() else {}
    entries[name] = {"file": f"{name}.safetensors", "sha256": digest}
    tables = (f'["{key}"]\n' + "".join(f'{field} = "{x}"\n' for field, x in entries[key].items()) for key in sorted(entries))
    path.write_text("\n".join(tables))


if __name__ == "__main__":
    main()
