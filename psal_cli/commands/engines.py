"""The options of `psal inpaint` that choose its engine and network, and those that `psal outpaint` shares with it."""

from __future__ import annotations

import click

from psal_cli.commands import options, parameters
from psal_cli.commands.arguments import InpaintArguments
from psal_cli.commands.choices import choice_options
from psal_cli.commands.options import group
from psal_cli.commands.ranges import IntRange
from psal_cli.verbs.inpaint.options import ATTENTIONS, ENGINES, InpaintOptions

PATCHES, NETWORKS = ("patch", "combined"), ("combined", "network")  # the engines that have these options

engine_options = group(
    click.option(
        "--engine",
        type=click.Choice(ENGINES),
        default=InpaintOptions.engine,
        show_default=True,
        help="combined copies patches that fit what a network expects there; patch copies patches without a network, on the CPU "
        "only; network takes what the network draws.",
    ),
    click.option(
        "--attention",
        type=click.Choice(ATTENTIONS),
        default=InpaintOptions.attention,
        show_default=True,
        help="Attention layer of the network. aggregation is PSAL with aggregation; original is the layer of Yu et al. 2018, "
        "whose memory grows with the square of the picture; original-sum is the same as in its PyTorch port since 2020.",
    ),
    click.option(
        "--weights", type=parameters.FILE, help="Other weights for the network: .safetensors, or a published .pt or .pth."
    ),
    click.option(
        "--painter",
        type=parameters.FILE,
        help="A network of yours that fills a picture given a mask, in place of the shipped one: TorchScript (big-lama.pt), ONNX "
        "(LaMa, MI-GAN), or what spandrel reads. combined copies patches that fit what it draws; network keeps its drawing. It "
        "runs on the CPU. --max-memory does not count it.",
    ),
    click.option(
        "--painter-size",
        type=IntRange(64, 4096),
        metavar="PX",
        help="The longer side that --painter sees at most. Default: that of its file, else 512.",
    ),
    click.option("--source-mask", type=parameters.PICTURE, help="Mask of what may be copied, in white; given like --mask."),
)

filling_options = group(
    choice_options,
    options.output_options,
    options.batch_options,
    engine_options,
    options.search_options,
    options.seed_option,
    click.option("--no-blend", is_flag=True, help="Keep copied pixels exactly as they are. Seams stay visible."),
    options.device_options,
    options.offsets_options,
)


def library_options(arguments: InpaintArguments, device: str, reach: int | None, number: int) -> InpaintOptions:
    """The options for the library, without those of other engines (a configuration file may set them).

    device: torch's name; reach: see `InpaintOptions`; number: of the fill, which is added to the seed.
    """
    networked = arguments.engine in NETWORKS
    return InpaintOptions(
        engine=arguments.engine,
        attention=arguments.attention,
        weights=arguments.weights if networked else None,
        painter=arguments.painter if networked else None,
        painter_size=arguments.painter_size if networked else None,
        patch_size=arguments.patch_size,
        iterations=arguments.iterations,
        blend=not arguments.no_blend,
        reach=reach,
        seed=arguments.seed + number,
        device="cpu" if arguments.engine == "patch" else device,
    )
