"""Which engine `psal inpaint` uses, and with what network."""

from __future__ import annotations

import click

from psal_cli.commands import options
from psal_cli.commands.options import group
from psal_cli.verbs.inpaint.options import ATTENTIONS, ENGINES, InpaintOptions

PATCHES, NETWORKS = ("patch", "combined"), ("combined", "network")  # the engines that have them

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
        "--weights", type=options.PICTURE, help="Other weights for the network: .safetensors, or a published .pt or .pth."
    ),
    click.option("--source-mask", type=options.PICTURE, help="Mask of what may be copied, in white; given like --mask."),
)
