"""The nodes. Each verb works on a batch of pictures, one after another; one more node draws match fields.

A node is what ComfyUI expects of one: INPUT_TYPES, RETURN_TYPES, FUNCTION and CATEGORY, see https://docs.comfy.org.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from torch import Tensor

import psal_cli
from psal_cli.image.mask import feathered
from psal_cli.integrations.comfyui.host import painter_file, painters, progress_for
from psal_cli.integrations.comfyui.tensors import arrays, batch, regions, repeated
from psal_cli.verbs.inpaint.options import ENGINES
from psal_cli.verbs.reconstruct.options import ATTENTIONS
from psal_cli.verbs.upscale.options import MODELS, MOST

Widget = tuple[str | list[str]] | tuple[str | list[str], dict[str, object]]  # type or choices, and settings of the widget
Inputs = dict[str, dict[str, Widget]]
Fields = list[psal_cli.Field | None]
Result = psal_cli.ColorizeResult | psal_cli.UpscaleResult | psal_cli.ReconstructResult

IMAGE: Widget = ("IMAGE",)
SEED: Widget = ("INT", {"default": 0, "min": 0, "max": 2**32 - 1, "tooltip": "The same seed gives the same picture."})
DEVICE: Widget = (["cpu", "cuda"], {"tooltip": "Where networks run. The search of patches runs on the CPU."})


class Node:
    """What all nodes share. The type PSAL_FIELD is a list with the match field of each picture."""

    CATEGORY = "psal"
    FUNCTION = "run"
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ("IMAGE", "PSAL_FIELD")
    RETURN_NAMES: ClassVar[tuple[str, ...]] = ("image", "field")
    REQUIRED: ClassVar[dict[str, Widget]]

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        return {"required": cls.REQUIRED}


class Inpaint(Node):
    DESCRIPTION = "Fills the white part of the mask with what fits from the rest of the picture. Other pixels do not change."

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        grow: dict[str, object] = {"default": 0, "min": 0, "max": 1000}
        required: dict[str, Widget] = {
            "image": IMAGE,
            "mask": ("MASK", {"tooltip": "White = fill, from half on. One for each picture, or one for all."}),
            "seed": SEED,
            "engine": (list(ENGINES), {"tooltip": "combined: patches that fit what a network expects; patch: no network."}),
            "painter": (painters(), {"tooltip": "A network of models/inpaint, LaMa for instance, which combined follows."}),
            "dilate": ("INT", grow | {"tooltip": "Grow the mask by so many pixels."}),
            "feather": ("INT", grow | {"tooltip": "Blend the fill into so many pixels around the mask."}),
            "device": DEVICE,
        }
        return {"required": required}

    def run(
        self, image: Tensor, mask: Tensor, seed: int, engine: str, painter: str, dilate: int, feather: int, device: str
    ) -> tuple[Tensor, Fields]:
        """Fills each picture. A picture with an empty mask is passed on unchanged."""
        pictures, progress = arrays(image), progress_for(len(image))
        holes = regions(mask, len(pictures), (image.shape[1], image.shape[2]))
        options = psal_cli.InpaintOptions(
            engine=engine, painter=painter_file(painter), seed=seed, device="cpu" if engine == "patch" else device
        )
        made, fields = [], Fields()
        for number, (picture, hole) in enumerate(zip(pictures, holes, strict=True)):
            if not hole.any():
                made.append(picture)
                fields.append(None)
                continue
            filled = feathered(hole, dilate, feather)
            fade = filled.hole if filled.soft is None else filled.soft
            result = psal_cli.inpaint(picture, fade, options, progress=progress(number))
            made.append(np.asarray(result.image, np.float32))
            fields.append(result.field)
        return batch(made), fields


class Colorize(Node):
    DESCRIPTION = "Gives pictures the colours of references of the same kind of scene. Their luminance is kept."

    REQUIRED: ClassVar[dict[str, Widget]] = {
        "image": IMAGE,
        "references": ("IMAGE", {"tooltip": "Pictures in colour; each of a batch lends colours to all pictures."}),
        "strength": ("FLOAT", {"default": 1.0, "min": 0.0, "max": 2.0, "step": 0.05}),
        "seed": SEED,
        "device": DEVICE,
    }

    def run(self, image: Tensor, references: Tensor, strength: float, seed: int, device: str) -> tuple[Tensor, Fields]:
        progress, colours = progress_for(len(image)), arrays(references)
        options = psal_cli.ColorizeOptions(strength=strength, seed=seed, device=device)
        results = [
            psal_cli.colorize(picture, colours, options, progress=progress(number))
            for number, picture in enumerate(arrays(image))
        ]
        return outputs(results)


class Upscale(Node):
    DESCRIPTION = "Enlarges pictures by any factor up to 16. Patterns that repeat anywhere in a picture add detail."

    REQUIRED: ClassVar[dict[str, Widget]] = {
        "image": IMAGE,
        "scale": ("FLOAT", {"default": 2.0, "min": 1.1, "max": float(MOST), "step": 0.1}),
        "model": (["auto", *MODELS], {"tooltip": "clean keeps every detail; photo is for compressed and noisy pictures."}),
        "seed": SEED,
        "device": DEVICE,
    }

    def run(self, image: Tensor, scale: float, model: str, seed: int, device: str) -> tuple[Tensor, Fields]:
        progress = progress_for(len(image))
        options = psal_cli.UpscaleOptions(model=model, seed=seed, device=device)
        results = [
            psal_cli.upscale(picture, scale, options, progress=progress(number)) for number, picture in enumerate(arrays(image))
        ]
        return outputs(results)


class Reconstruct(Node):
    DESCRIPTION = "Rebuilds pictures from the pixels of others through one attention layer, and finds the match field."

    REQUIRED: ClassVar[dict[str, Widget]] = {
        "image": IMAGE,
        "reference": ("IMAGE", {"tooltip": "One for each picture, or one for all, of any size."}),
        "attention": (list(ATTENTIONS),),
        "patch_size": ("INT", {"default": 7, "min": 1, "max": 31, "step": 2}),
        "k": ("INT", {"default": 3, "min": 1, "max": 64, "tooltip": "Matches of each pixel that are mixed."}),
        "seed": SEED,
        "device": DEVICE,
    }

    def run(
        self, image: Tensor, reference: Tensor, attention: str, patch_size: int, k: int, seed: int, device: str
    ) -> tuple[Tensor, Fields]:
        progress, others = progress_for(len(image)), arrays_of(repeated("reference", list(reference), len(image)))
        options = psal_cli.ReconstructOptions(attention=attention, patch_size=patch_size, k=k, seed=seed, device=device)
        results = [
            psal_cli.reconstruct(picture, other, options, progress=progress(number))
            for number, (picture, other) in enumerate(zip(arrays(image), others, strict=True))
        ]
        return outputs(results)


class DrawField(Node):
    DESCRIPTION = "Draws where each pixel comes from: hue is the direction, saturation the distance."
    RETURN_TYPES: ClassVar[tuple[str, ...]] = ("IMAGE",)
    RETURN_NAMES: ClassVar[tuple[str, ...]] = ("drawing",)

    @classmethod
    def INPUT_TYPES(cls) -> Inputs:  # noqa: N802
        shown: dict[str, Widget] = {"over": ("IMAGE", {"tooltip": "The pictures that the fields belong to, shown below them."})}
        return {"required": {"field": ("PSAL_FIELD",), "arrows": ("BOOLEAN", {"default": False})}, "optional": shown}

    def run(self, field: Fields, arrows: bool, over: Tensor | None = None) -> tuple[Tensor]:
        """Draws each field. Pictures without one, such as those of engine "network", are left out.

        Raises:
            ValueError: no picture has one.
        """
        below = [None] * len(field) if over is None else arrays_of(repeated("over", list(over), len(field)))
        drawn = [each.draw(picture, arrows=arrows) for each, picture in zip(field, below, strict=True) if each is not None]
        if not drawn:
            raise ValueError("there is no match field: nothing was filled, or the engine has none")
        return (batch(drawn),)


def outputs(results: Sequence[Result]) -> tuple[Tensor, Fields]:
    """The outputs of a node from the results of its verb."""
    return batch([result.image for result in results]), [result.field for result in results]


def arrays_of(images: Sequence[Tensor]) -> list[np.ndarray]:
    """Single pictures [H, W, C] as arrays."""
    return [array for image in images for array in arrays(image[None])]


NODES = {
    "PsalInpaint": (Inpaint, "Inpaint (psal)"),
    "PsalColorize": (Colorize, "Colorize (psal)"),
    "PsalUpscale": (Upscale, "Upscale (psal)"),
    "PsalReconstruct": (Reconstruct, "Reconstruct (psal)"),
    "PsalDrawField": (DrawField, "Draw match field (psal)"),
}
NODE_CLASS_MAPPINGS = {name: node for name, (node, _) in NODES.items()}
NODE_DISPLAY_NAME_MAPPINGS = {name: title for name, (_, title) in NODES.items()}
