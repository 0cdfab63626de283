"""The plan of `psal inpaint`: how much memory it takes, and how far around a hole it may look within a limit."""

import re

import numpy as np
import pytest

from psal_cli.errors import MemoryLimitError
from psal_cli.image import Header
from psal_cli.networks.contextual_attention import InpaintingNetwork
from psal_cli.verbs.inpaint.memory_model import network_bytes, plan
from psal_cli.verbs.inpaint.painter import attention_of

LARGE = 6000, 8000


def large_mask(*boxes):
    mask = np.zeros(LARGE, bool)
    for top, bottom, left, right in boxes:
        mask[top:bottom, left:right] = True
    return mask


def header_of(channels=3, bits=8, alpha=False, format="JPEG"):
    return Header(format, LARGE[1], LARGE[0], channels, bits, alpha)


def planned(mask=None, header=None, writes="JPEG", **options):
    return plan(header or header_of(), {"output": writes}, mask, **options)


def test_the_largest_reach_that_a_limit_allows_is_planned():
    mask = large_mask((1000, 1200, 1000, 1300), (1500, 1600, 1000, 1050))
    assert planned(mask).reach is None
    reaches = []
    for limit in range(24 * 10**8, 0, -(10**8)):
        try:
            plan = planned(mask, limit=limit)
        except MemoryLimitError as error:
            message = str(error)
            assert limit == error.allowed < error.needed < limit + 10**8
            break
        assert plan.bytes <= limit
        assert ("whole picture" if plan.reach is None else f"{plan.reach} pixels around") in plan.text
        reaches.append(plan.reach or 10**6)
    assert reaches[0] == 10**6 and len(set(reaches)) > 3
    assert reaches == sorted(reaches, reverse=True)
    least = float(re.fullmatch(r"8000x6000 takes (.*) GB at least, .* are allowed", message)[1])
    assert limit < least * 1e9 < limit + 1.1e8
    assert planned(mask, limit=round(least * 1e9)).reach >= 128  # what is said suffices
    assert MemoryLimitError.exit_code == 4


def test_the_least_reach_has_half_of_the_widest_hole():
    mask = large_mask((1000, 3000, 1000, 2900))
    with pytest.raises(MemoryLimitError) as refused:
        planned(mask, limit=10**8)
    least = float(re.search(r"takes (.*?) GB", str(refused.value))[1]) * 1e9
    assert planned(mask, limit=round(least)).reach == 1024


def test_plans_tell_of_what_they_know():
    small, wide = large_mask((1000, 1200, 1000, 1300)), large_mask((500, 2500, 500, 3500))

    def bytes_of(channels, bits, mask=None, alpha=False, **more):
        return planned(mask, header_of(channels, bits, alpha), **more).bytes

    assert planned().text.endswith("(for a small hole)") and "small" not in planned(small).text
    assert bytes_of(1, 8) < bytes_of(3, 8) < bytes_of(3, 8, small) < bytes_of(3, 16, small)
    assert bytes_of(3, 8, small) + 5e8 < bytes_of(3, 8, wide)
    for more in ("alpha", "source", "soft"):
        assert bytes_of(3, 8) < bytes_of(3, 8, **{more: True})
    assert bytes_of(3, 8, writes="AVIF") > bytes_of(3, 8, writes="PNG")
    assert bytes_of(3, 8) > LARGE[0] * LARGE[1] * 5 * 4  # the features alone


def test_a_reach_that_is_asked_for_is_the_most():
    mask = large_mask((1000, 1200, 1000, 1300))
    assert planned(mask, at_most=700).reach == 700 and planned(mask, at_most=700).bytes < planned(mask).bytes
    assert planned(mask, at_most=5000, limit=planned(mask, at_most=5000).bytes - 1).reach == 4096


def test_a_field_that_is_written_counts_with_its_offsets():
    formats = {"output": "PNG", "save_offsets": "NPY"}
    mask = large_mask((1000, 1010, 1000, 1010))
    assert plan(header_of(), formats, mask, at_most=128).bytes > planned(mask, writes="PNG", at_most=128).bytes + 48e6 * 16


def test_the_original_attention_is_expected_to_need_the_square():
    psal, original = (network_bytes(4_000_000, 100_000, InpaintingNetwork(4, attention_of(x))) for x in ("psal", "original"))
    large = network_bytes(8_000_000, 100_000, InpaintingNetwork(4, attention_of("original")))
    assert original > 10 * psal and large > 3.9 * original
