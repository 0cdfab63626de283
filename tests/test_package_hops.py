"""The call chain from a public function to the engine is short: functions of psal_cli that are on the stack at a C function."""

import sys
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch

import psal_cli
from psal_cli import native

PACKAGE = str(Path(psal_cli.__file__).parent)


class Recorder:
    """Stands in for libpsal. chains: of each C function that is called, the functions from `first` to the one that calls it."""

    def __init__(self, first):
        self.first, self.library, self.chains = first, native.library(), {}

    def __getattr__(self, name):
        function = getattr(self.library, name)

        def entry(*args):
            names, frame = [], sys._getframe(1)
            while frame is not None:
                if frame.f_code.co_filename.startswith(PACKAGE):  # not torch's own between an operator's call and its kernel
                    names.insert(0, frame.f_code.co_qualname)
                frame = frame.f_back
            self.chains.setdefault(name, set()).add(tuple(names[names.index(self.first) :]))
            return function(*args)

        return entry

    def longest(self, name):
        return max(self.chains[name], key=len)


@contextmanager
def recorded(first):
    with pytest.MonkeyPatch.context() as patch:
        recorder = Recorder(first)
        patch.setattr(native, "library", lambda: recorder)
        yield recorder


def test_six_functions_from_inpaint_to_the_search_and_to_the_composition():
    hole = np.zeros((120, 120), bool)
    hole[30:80, 30:80] = True  # wide enough for levels that vote, for levels that copy, and for a first estimate
    with recorded("inpaint") as run:
        picture = np.random.default_rng(0).integers(0, 256, (120, 120, 3), np.uint8)
        psal_cli.inpaint(picture, hole, engine="patch", reach=40)
    assert {chain[3] for chain in run.chains["psal_search_cpu"]} == {"peel", "Estimate.alternate"}
    for name in ("psal_search_cpu", "psal_compose_cpu"):
        assert len(run.longest(name)) <= 6, run.longest(name)
    assert len(run.longest("psal_place_seams_cpu")) <= 7, run.longest("psal_place_seams_cpu")  # a step of every composition
    for name in ("psal_spread_cpu", "psal_log_total_cpu"):  # the vote has a step and an operator of its own
        assert len(run.longest(name)) <= 9, run.longest(name)


@pytest.mark.parametrize("options", [{}, {"aggregation": True}, {"similarity": "cosine"}, {"value_scale": 2}])
def test_five_functions_from_psattention_to_every_kernel(options):
    query, mask = torch.rand(1, 4, 16, 16), torch.ones(1, 16, 16, dtype=torch.bool)
    side = 16 * options.get("value_scale", 1)
    with recorded("PSAttention.forward") as run:
        psal_cli.PSAttention(3, 2, **options)(query, query, torch.rand(1, 3, side, side), mask, mask)
    assert run.chains.keys() == {f"psal_{name}_cpu" for name in ("search", "gather", "spread", "log_total")}
    for name in run.chains:
        assert len(run.longest(name)) <= 5, run.longest(name)
