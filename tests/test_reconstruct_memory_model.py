"""What psal reconstruct says it costs, before it begins."""

import pytest

from psal_cli.image import Header
from psal_cli.memory import MemoryLimitError
from psal_cli.verbs.reconstruct import memory_model


def header(width=2000, height=1000, channels=3, bits=8, alpha=False):
    return Header("PNG", width, height, channels, bits, alpha)


def bytes_of(query=None, key=None, formats=None, **options):
    chosen = {"attention": "psal", "patch_size": 7, "k": 3} | options
    return memory_model.plan(query or header(), key or header(), formats or {"output": "PNG"}, **chosen).bytes


@pytest.mark.parametrize(
    ("more", "at_least"),
    [
        ({"query": header(4000)}, 2_000_000 * 60),
        ({"key": header(4000)}, 2_000_000 * 12),
        ({"query": header(bits=16)}, 2_000_000 * 3),
        ({"k": 8}, 2_000_000 * 5 * 12),
        ({"attention": "full"}, 2_000_000 * 196 * 4),
    ],
)
def test_what_is_larger_is_planned_to_take_more(more, at_least):
    assert bytes_of(**more) - bytes_of() >= at_least


def test_a_picture_of_the_field_counts_where_its_encoder_takes_more_than_the_search():
    formats = {"output": "PNG"}
    assert bytes_of(formats=formats | {"save_offsets": "PNG"}) == bytes_of(formats=formats)
    small = {"k": 1, "key": header(200)}
    assert bytes_of(formats=formats | {"save_offsets": "AVIF"}, **small) > bytes_of(formats=formats, **small) + 10**7


def test_a_limit_is_kept_or_refused():
    free = bytes_of()
    assert bytes_of(limit=free) == free
    with pytest.raises(MemoryLimitError, match=r"are allowed$"):
        bytes_of(limit=free - 1)
