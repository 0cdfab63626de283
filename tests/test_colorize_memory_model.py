"""What psal colorize says it costs, before it begins."""

import pytest

from psal_cli import memory
from psal_cli.errors import InvalidValueError, MemoryLimitError
from psal_cli.image.reading import Header
from psal_cli.verbs.colorize.memory_model import plan
from psal_cli.verbs.colorize.options import COARSE

PNG = {"output": "PNG"}


def picture(width=4000, height=3000, channels=3, bits=8, alpha=False):
    return Header("PNG", width, height, channels, bits, alpha)


def bytes_of(target=None, references=None, formats=PNG, **options):
    return plan(target or picture(), references or [picture()], formats, **options).bytes


def test_a_limit_picks_the_largest_size_that_keeps_to_it():
    free = plan(picture(), [picture()], PNG)
    assert free.longest == 3 * COARSE and not free.lowered
    assert plan(picture(), [picture()], PNG, limit=free.bytes).longest == 3 * COARSE
    limit, sizes = free.bytes, [3 * COARSE]
    for size in (2 * COARSE, COARSE):
        less = plan(picture(), [picture()], PNG, limit=limit - 1)
        assert less.longest == size and less.lowered and less.bytes < limit
        limit, sizes = less.bytes, [*sizes, less.longest]
    with pytest.raises(MemoryLimitError, match=f"at least, {memory.at_most(limit - 1)}"):
        plan(picture(), [picture()], PNG, limit=limit - 1)


@pytest.mark.parametrize(
    ("more", "at_least"),
    [
        ({"references": [picture(), picture()]}, 300_000_000),
        ({"target": picture(bits=16)}, 12_000_000 * 3),
        ({"target": picture(alpha=True)}, 12_000_000),
        ({"streams": 30_000_000}, 30_000_000),
    ],
    ids=["a second reference", "16 bits", "alpha", "a pipe"],
)
def test_what_is_more_costs_more(more, at_least):
    assert bytes_of(**more) - bytes_of() >= at_least


def test_maps_of_large_pictures_are_counted():
    large = {"target": picture(20_000, 15_000, channels=1, bits=16)}  # here writing is what costs most
    with_map = bytes_of(**large, formats=PNG | {"confidence": "JPEG"})
    assert with_map - bytes_of(**large) >= 300_000_000
    assert bytes_of(**large, formats=PNG | {"save_offsets": "PNG"}) > bytes_of(**large)


def test_each_layer_of_the_paper_has_its_own_cost():
    small = picture(640, 480)
    cost = {name: bytes_of(small, [small], attention=name) for name in ("aggregation", "local", "full")}
    assert cost["aggregation"] < cost["local"] < cost["full"]
    assert plan(small, [small], PNG, attention="full").longest == 640


def test_local_attention_needs_one_reference_of_the_same_size():
    for references in ([picture(640, 481)], [picture(640, 480)] * 2):
        with pytest.raises(InvalidValueError, match=r"references is 640x48.*, expected one of 640x480, the size of the picture"):
            plan(picture(640, 480), references, PNG, attention="local")
    assert plan(picture(640, 480), [picture(640, 480)], PNG, attention="local")


def test_references_that_do_not_fit_beside_each_other_are_refused():
    with pytest.raises(InvalidValueError, match="67200 pixels wide side by side, expected at most 65535: give fewer"):
        plan(picture(), [picture()] * 50, PNG)
    with pytest.raises(InvalidValueError, match="65536 pixels wide"):
        plan(picture(100, 100), [picture(32_768, 10)] * 2, PNG, attention="psal3")
