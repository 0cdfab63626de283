"""Strips of rows: they cover a picture once, and see what is around them as far as it goes."""

import numpy as np
import pytest
import torch

from psal_cli.strips import rows_within, strips


def test_strips_cover_all_rows_once_and_see_what_is_around():
    x, y = torch.arange(10.0)[:, None], np.arange(10)
    parts = list(strips(10, 4, 3))
    assert [tuple(part) for part in parts] == [(0, 4, 0, 7), (4, 8, 1, 10), (8, 10, 5, 10)]
    assert torch.equal(torch.cat([part.kept(part.seen(x)) for part in parts]), x)
    assert np.array_equal(np.concatenate([y[part.rows] for part in parts]), y)
    assert [tuple(part) for part in strips(10, None, 3)] == [(0, 10, 0, 10)]


@pytest.mark.parametrize(("most", "width", "multiple", "rows"), [(100, 9, 1, 11), (100, 9, 4, 8), (5, 9, 1, 1), (5, 9, 2, 2)])
def test_as_many_rows_as_fit_but_never_none(most, width, multiple, rows):
    assert rows_within(most, width, multiple) == rows
