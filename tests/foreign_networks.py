"""Small networks of spandrel's own classes with random weights, and ONNX exports, that the tests share."""

import importlib
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from psal_cli.foreign import spandrel_files

WINDOWS = {"img_size": 16, "window_size": 8, "embed_dim": 12, "upscale": 2}
MADE = {  # architecture -> module and class, arguments, scale
    "ESRGAN": ("ESRGAN.__arch.RRDB.RRDBNet", {"num_filters": 8, "num_blocks": 1, "scale": 4}, 4),
    "SPAN": ("SPAN.__arch.span.SPAN", {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2}, 2),
    "RealESRGAN Compact": ("Compact.__arch.SRVGG.SRVGGNetCompact", {"num_feat": 8, "num_conv": 3, "upscale": 4}, 4),
    "SwinIR": (
        "SwinIR.__arch.SwinIR.SwinIR",
        WINDOWS | {"depths": [2], "num_heads": [2], "mlp_ratio": 2, "upsampler": "pixelshuffledirect"},
        2,
    ),
    "PLKSR": ("PLKSR.__arch.PLKSR.PLKSR", {"dim": 8, "n_blocks": 2, "kernel_size": 9, "upscaling_factor": 2}, 2),
    "SAFMN": ("SAFMN.__arch.safmn.SAFMN", {"dim": 8, "n_blocks": 2, "upscaling_factor": 2}, 2),
    "HAT": (
        "HAT.__arch.HAT.HAT",
        WINDOWS
        | {
            "depths": [2],
            "num_heads": [2],
            "num_feat": 16,
            "compress_ratio": 3,
            "squeeze_factor": 6,
            "upsampler": "pixelshuffle",
        },
        2,
    ),
    "DAT": (
        "DAT.__arch.DAT.DAT",
        {"img_size": 16, "split_size": [4, 8], "depth": [2], "embed_dim": 32, "num_heads": [2], "upscale": 2}
        | {"expansion_factor": 2, "upsampler": "pixelshuffledirect"},
        2,
    ),
    "OmniSR": ("OmniSR.__arch.OmniSR.OmniSR", {"num_feat": 8, "up_scale": 2, "res_num": 1, "window_size": 8}, 2),
    "RCAN": ("RCAN.__arch.rcan_arch.RCAN", {"scale": 2, "n_resgroups": 1, "n_resblocks": 1, "n_feats": 8, "reduction": 4}, 2),
}
BOUNDED = ("ESRGAN", "SPAN", "RealESRGAN Compact", "SwinIR", "PLKSR", "SAFMN")


def architecture(name, seed=0, **changes):
    """A module of spandrel's class with random weights, in evaluation mode."""
    pytest.importorskip("einops", reason="pip install 'psal[models]'")
    path, arguments, _ = MADE[name]
    module, _, kind = path.rpartition(".")
    with spandrel_files._imported(name), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        return getattr(importlib.import_module(f"spandrel.architectures.{module}"), kind)(**arguments | changes).eval()


def write(path, name, seed=0, **changes):
    """Writes such a network's tensors to a .pth file, as BasicSR does."""
    torch.save({"params_ema": architecture(name, seed, **changes).state_dict()}, path)
    return path


class Shuffled(nn.Module):
    """Convolutions, and a shuffle to pixels."""

    def __init__(self, channels=3, scale=2):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Conv2d(channels, 8, 5, padding=2), nn.Conv2d(8, channels * scale**2, 3, padding=1)
        self.scale = scale

    def forward(self, image):
        return F.pixel_shuffle(self.last(F.relu(self.first(image))), self.scale)


def export(path, module, *shapes, free=True):
    """Writes an ONNX file that takes pictures of these shapes, or of any sizes."""
    pytest.importorskip("onnx", reason="of torch's exporter")
    pytest.importorskip("onnxruntime", reason="pip install 'psal[onnx]'")
    names = [f"in{number}" for number in range(len(shapes))]
    axes = {name: {2: "height", 3: "width"} for name in (*names, "out")} if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter that needs no further package
        arguments = {"input_names": names, "output_names": ["out"], "dynamic_axes": axes, "dynamo": False}
        torch.onnx.export(module.eval(), tuple(torch.rand(*shape) for shape in shapes), str(path), **arguments)
    return path
