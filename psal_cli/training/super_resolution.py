"""Trains the networks of `psal upscale`.

    python -m psal_cli.training.super_resolution 4 --data ../shared/data --output out/training

A step takes crops of photographs, and the same reduced by the antialiased cubic kernel. The loss is the L1 error, or, where the
attention alone is trained, the L2 error. What is kept is the mean of the weights over the last thousand steps or so.
"""

import contextlib
from pathlib import Path

import click
import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from psal_cli.networks.upscaling import RATIOS, UpscalingNetwork, reduced
from psal_cli.training import loop
from psal_cli.training.photographs import EVERY, decoded, files_of

REDUCED = (1, 2)  # sides of the photographs are divided by it: once more hides what compression left, and shows other structure
HELD_OUT = 2  # crops of each photograph held out and size of it
HELD_OUT_SIDE = 96  # of those crops, at least
FLAT = 2 / 255  # mean step from pixel to pixel below which a crop is drawn again,
DRAWS = 4  # so often
FILTERED, NOISY, COMPRESSED = 0.6, 0.5, 0.85  # shares of the degraded crops
WIDTHS, AMOUNTS = (0.5, 1.2), (-0.6, 1.2)  # of the blur that is subtracted, in pixels, and how much of it
MOST_NOISE = 8  # standard deviation, of 255
QUALITIES = 30, 98  # of JPEG
SHARPNESS = 0.3  # standard deviation of the components of queries and keys
DOUBT = -2.5  # logit of what is taken at first of what is pasted
DECAY = 0.999  # of the mean of the weights
FAR = 1 << 40  # the numbers of the crops held out


class Crops:
    """Numbered crops and the same reduced: the same folder, scale, seed and number give the same one."""

    def __init__(self, data: Path, scale: int, side: int, seed: int, degraded: bool = False):
        """side: of the reduced crops; degraded: those are noisy and compressed, see `degraded`.

        Raises FileNotFoundError when the folder has no photographs.
        """
        files = files_of(data)
        if not files:
            raise FileNotFoundError(f"{data}/photos has no photographs: expected .webp")
        self.scale, self.side, self.seed, self.degraded = scale, side, seed, degraded
        self.held_out, self.training = [], []
        for number, path in enumerate(files):
            photo = torch.from_numpy(decoded(path)).permute(2, 0, 1)
            for factor in REDUCED:
                pair = _pair(smaller(photo, factor), scale)
                those, least = (self.training, side) if number % EVERY else (self.held_out, max(side, HELD_OUT_SIDE))
                if min(pair[0].shape[1:]) >= least:
                    those.append(pair)

    def crop(self, number: int) -> tuple[Tensor, Tensor]:
        """uint8 [3, side, side] and [3, scale * side, scale * side]."""
        if number >= FAR:
            photo, which = divmod(number - FAR, HELD_OUT)
            random = np.random.default_rng([0, photo, which])
            small, large = self._cut(*self.held_out[photo], random, max(self.side, HELD_OUT_SIDE))
            return degraded(small, random) if self.degraded else small, large
        random = np.random.default_rng([self.seed, number])
        for _ in range(DRAWS):
            small, large = self._cut(*self.training[random.integers(len(self.training))], random, self.side)
            if small.float().diff(dim=2).abs().mean() > FLAT * 255:
                break
        small = degraded(small, random) if self.degraded else small
        flips = [axis for axis in (1, 2) if random.random() < 0.5]
        turned = random.random() < 0.5
        return tuple((x.transpose(1, 2) if turned else x).flip(flips) for x in (small, large))

    def _cut(self, small: Tensor, large: Tensor, random: np.random.Generator, side: int) -> tuple[Tensor, Tensor]:
        top, left = (random.integers(size - side + 1) for size in small.shape[1:])
        return tuple(x[:, s * top : s * (top + side), s * left : s * (left + side)] for x, s in ((small, 1), (large, self.scale)))

    def batch(self, first: int, count: int) -> tuple[Tensor, Tensor]:
        """float32 [B, 3, side, side] and [B, 3, scale * side, scale * side] in [0, 1]."""
        return tuple(torch.stack(x).float() / 255 for x in zip(*(self.crop(first + i) for i in range(count)), strict=True))


def smaller(photo: Tensor, factor: int) -> Tensor:
    """uint8 [3, H, W] -> [3, H // factor, W // factor] by the antialiased cubic kernel of a = -1/2, as for published sets."""
    height, width = (size // factor * factor for size in photo.shape[1:])
    return reduced(photo[None, :, :height, :width].float(), factor)[0].round_().clamp_(0, 255).byte()


def degraded(crop: Tensor, random: np.random.Generator) -> Tensor:
    """uint8 [3, H, W] as photographs are found: sharpened or a little soft, noisy, compressed; a share of them as they were."""
    picture = crop.permute(1, 2, 0).numpy()
    if random.random() < FILTERED:
        soft = cv2.GaussianBlur(picture, (0, 0), random.uniform(*WIDTHS)).astype(np.float32)
        amount = random.uniform(*AMOUNTS)  # below zero: softer
        picture = np.rint(picture + amount * (picture - soft)).clip(0, 255).astype(np.uint8)
    if random.random() < NOISY:
        noise = random.normal(0, random.uniform(0, MOST_NOISE), picture.shape)
        if random.random() < 0.5:
            noise = noise[..., :1]  # of all channels alike, as what cameras leave is
        picture = np.rint(picture + noise).clip(0, 255).astype(np.uint8)
    if random.random() < COMPRESSED:
        quality = int(random.integers(*QUALITIES))
        sampling = random.choice([cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444])
        how = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, int(sampling)]
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[..., ::-1]), how)
        picture = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    return torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1)))


def _pair(photo: Tensor, scale: int) -> tuple[Tensor, Tensor]:
    small = smaller(photo, scale)
    return small, photo[:, : small.shape[1] * scale, : small.shape[2] * scale]


def start(network: UpscalingNetwork) -> None:
    """Weights to start from: it adds almost nothing to the bicubic enlargement, and each block little to what it is given."""
    with torch.no_grad():
        for block in network.body:
            block.second.weight.mul_(0.3)
        network.tail.weight.mul_(0.02)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.bias.zero_()


@torch.no_grad()
def start_matching(network: UpscalingNetwork, images: Tensor) -> None:
    """Weights of the attention to start from: queries and keys are the principal components of the features of some pictures,
    each of the same variance, so that alike places are alike from the first step on; and little of what is pasted is taken.

    images: [B, 3, H, W] in [0, 1].
    """
    cross, x = network.cross, network._begun(images).flatten(2).transpose(0, 1).flatten(1)  # [C, n]
    mean = x.mean(1, keepdim=True)
    variance, axes = torch.linalg.eigh((x - mean) @ (x - mean).T / x.shape[1])
    weight = (axes * SHARPNESS / variance.clamp_min(1e-3 * variance[-1]).sqrt()).T[-cross.conv_match_1.out_channels :]
    for layer in (cross.conv_match_1, cross.conv_match_2):
        layer.weight.copy_(weight[:, :, None, None])
        layer.bias.copy_(-(weight @ mean)[:, 0])
    cross.second.weight.mul_(0.1)
    cross.second.bias.fill_(DOUBT)


def luminance(image: Tensor) -> Tensor:
    """[B, 3, H, W] in [0, 1] -> Y of ITU-R BT.601, [B, H, W], 16 to 235 over 255."""
    return torch.einsum("bchw,c->bhw", image, image.new_tensor([65.481, 128.553, 24.966]) / 255) + 16 / 255


@click.command()
@click.argument("scale", type=click.Choice([str(x) for x in RATIOS]))
@loop.options(steps=20_000)
@click.option("--features", type=click.IntRange(1), default=64, show_default=True)
@click.option("--blocks", type=click.IntRange(1), default=16, show_default=True)
@click.option("--before", type=click.IntRange(0), default=4, show_default=True, help="Blocks before the attention.")
@click.option("--cross/--no-cross", default=True, show_default=True, help="Attention across scales.")
@click.option("--only-cross", is_flag=True, help="Train the attention alone, the rest stays as it starts.")
@click.option("--attention", type=click.Choice(["psal", "full"]), default="psal", show_default=True, help="While training.")
@click.option("--degraded", is_flag=True, help="Learn from noisy and compressed pictures.")
@click.option("--side", type=click.IntRange(8), default=48, show_default=True, help="Of the reduced crops.")
@click.option("--batch", type=click.IntRange(1), default=8, show_default=True)
@click.option(
    "--start", "sources", type=click.Path(path_type=Path), multiple=True,
    help="A checkpoint to start from: what fits is taken, of several from the last that has it.",
)  # fmt: skip
@click.option("--name", help="Of checkpoint and log; default upscale_xSCALE.")
@click.option("--precision", type=click.Choice(["float32", "bfloat16"]), default="float32", show_default=True)
def main(
    scale, data, output, steps, minutes, rate, seed, device, threads, features, blocks, before, cross, only_cross, attention,
    degraded, side, batch, sources, name, precision,
) -> None:  # fmt: skip
    """Trains for SCALE. Checkpoint and log are OUTPUT/NAME.pt and .jsonl, the best by validation OUTPUT/NAME.best.pt."""
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    scale = int(scale)
    network = UpscalingNetwork(scale, features, blocks, before, cross=cross, attention=attention)
    start(network)
    known, own = {}, network.state_dict()
    for source in sources:
        known |= torch.load(source, map_location="cpu", weights_only=True)["model"]
    network.load_state_dict({key: known[key] if key in known and known[key].shape == x.shape else x for key, x in own.items()})
    crops = Crops(data, scale, side, seed, degraded)
    if cross:
        if "cross.conv_match_1.weight" not in known:
            start_matching(network, crops.batch(FAR, 8)[0])
        network.requires_grad_(not only_cross)
        network.cross.requires_grad_(True)
    network.to(device, memory_format=torch.channels_last)
    average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    rounded = torch.autocast(torch.device(device).type, torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()

    def errors(step: int) -> tuple[Tensor, float]:
        small, large = (x.to(device) for x in crops.batch(step * batch, batch))
        with rounded:
            found = network(small)
        # By L1 the attention hardly learns: where it is right is rare, and a median takes no account of it.
        loss = (F.mse_loss if only_cross else F.l1_loss)(found, large)
        return loss, loss.item() * (255**2 if only_cross else 255)

    def validation() -> float:
        """Minus the mean PSNR of the luminance, in dB."""
        found = []
        for number in range(len(crops.held_out) * HELD_OUT):
            small, large = (x.to(device)[None].float() / 255 for x in crops.crop(FAR + number))
            with rounded:
                drawn = average(small)
            gap = (luminance(drawn.clamp(0, 1)) - luminance(large))[:, scale:-scale, scale:-scale]
            found.append(10 * gap.square().mean().log10().item())
        return float(np.mean(found))

    recipe = {
        "scale": scale, "features": features, "blocks": blocks, "before": before, "cross": cross, "only_cross": only_cross,
        "attention": attention, "degraded": degraded, "side": side, "batch": batch, "steps": steps, "rate": rate,
        "seed": seed, "start": [source.name for source in sources], "precision": precision,
    }  # fmt: skip
    loop.train(
        output / (name or f"upscale_x{scale}"), network, recipe, errors, validation,
        minutes=minutes, warmup=200, clip=0.5, best=True, betas=(0.9, 0.99), average=average,
    )  # fmt: skip


if __name__ == "__main__":
    main()
