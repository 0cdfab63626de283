"""What psal upscale says it costs, before it begins."""

import pytest
import torch

from psal_cli import errors, memory
from psal_cli.image import Header
from psal_cli.networks.csnln import CSNLN
from psal_cli.networks.upscaling import UpscalingNetwork
from psal_cli.verbs.upscale import memory_model
from psal_cli.verbs.upscale.options import STRIPS


def network(scale, **options):
    torch.manual_seed(scale)
    return UpscalingNetwork(scale, 8, 3, 1, **options).eval().requires_grad_(False)


def header(width=1000, height=700, bits=8, alpha=False):
    return Header("PNG", width, height, 3, bits, alpha)


def planned(head, networks, monkeypatch, **options):
    monkeypatch.setattr(memory_model, "baseline", lambda networks: 300_000_000)
    return memory_model.plan(head, {"output": "PNG"}, networks, **options)


def test_a_limit_makes_strips_smaller_and_is_kept(monkeypatch):
    networks = (network(2),)
    free = planned(header(), networks, monkeypatch)
    assert free.largest == STRIPS[0] and memory.in_words(free.bytes) in free.text
    tight = planned(header(), networks, monkeypatch, limit=free.bytes - 1)
    assert tight.largest < free.largest and tight.bytes < free.bytes
    with pytest.raises(errors.MemoryLimitError, match=r"1000x700 takes .* at least, .* are allowed"):
        planned(header(), networks, monkeypatch, limit=301_000_000)


def test_what_takes_more_is_expected_to(monkeypatch):
    base = planned(header(), (network(2),), monkeypatch).bytes
    assert planned(header(700, 1000), (network(2),), monkeypatch).bytes == base
    assert planned(header(2000), (network(2),), monkeypatch).bytes > base
    assert planned(header(bits=16), (network(2),), monkeypatch).bytes > base
    assert planned(header(alpha=True), (network(2),), monkeypatch).bytes > base
    assert planned(header(), (network(2),), monkeypatch, ensemble=True).bytes > base
    assert planned(header(), (network(2), network(4)), monkeypatch).bytes > base
    assert planned(header(), (network(2),), monkeypatch, blended=True).bytes >= base + 2000 * 1400 * 3  # the first result waits
    assert planned(header(), (CSNLN(2, 64, 1),), monkeypatch).bytes > base


def test_full_attention_is_done_in_strips_that_fit(monkeypatch):
    networks = (network(2, attention="full"),)
    assert planned(header(300, 300), networks, monkeypatch).largest < STRIPS[0]
    assert planned(header(60, 60), networks, monkeypatch).largest == STRIPS[0]
