"""Optimal transport between patches: the semi-dual value beside an exact solver's."""

import pytest
import torch
from scipy.optimize import linear_sum_assignment

from psal_cli.verbs.generate import transport

EVEN = torch.full((60,), 1 / 60)


def sets(case, count=60):
    """Two sets of so many vectors, [n, d] each."""
    generator = torch.Generator().manual_seed(5)
    x, y = torch.rand(count, 8, generator=generator), torch.rand(count, 8, generator=generator)
    return {"apart": (x, y + 2), "mixed": (x, y), "clustered": (x * 0.1, torch.cat([y[:10] * 0.1, y[10:] + 1]))}[case]


def squares(x, y):
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist").square()


def exact(cost):
    return cost[linear_sum_assignment(cost)].mean()


def generator():
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("case", ["apart", "mixed", "clustered"])
def test_the_cost_comes_near_that_of_the_exact_assignment_and_never_above(case):
    cost = squares(*sets(case))
    values = [
        transport.value(cost, EVEN, transport.ascend(cost, EVEN, torch.zeros(60), range(1, 1 + steps)))
        for steps in (0, 30, 300, 3000)
    ]
    assert values == sorted(values) and values[0] < 0.9 * values[-1]
    assert 0.98 * exact(cost) < values[-1] <= exact(cost) * (1 + 1e-5)


def test_patches_of_a_picture_are_moved_as_an_exact_solver_moves_them():
    """Sets of unequal sizes: each of the 25 patches of the key is to be chosen by four of the 100."""
    picture = torch.rand(1, 3, 9, 9) * 0.5
    grid = transport.Grid.of(picture, 5)
    x, y = grid.patches(torch.rand(1, 3, 14, 14), 5), grid.patches(picture, 5)
    assert x.shape == (100, 75) and y.shape == (25, 75)
    keys, cost = transport.Keys.of(y), squares(x, y)
    bound = exact(cost.repeat_interleave(4, 1))
    potentials, place, moved = transport.move(x, keys, torch.zeros(25), range(1, 2001), generator())
    reached = transport.value(squares(x, keys.patches), keys.weight, potentials)
    assert 0.98 * bound < reached <= bound * (1 + 1e-5)
    assert torch.allclose(moved, cost.gather(1, place[:, None])[:, 0], rtol=1e-4)
    uneven = [(torch.bincount(number, minlength=25) - 4).abs().sum() for number in (place, cost.argmin(1))]
    assert uneven[0] < 0.4 * uneven[1]


def test_equal_patches_are_one_key_of_their_weight():
    """Half of the key is one flat colour, as clipped skies and transparent parts are: half of what is moved goes there."""
    y = torch.cat([torch.zeros(30, 8), torch.arange(1.0, 241).view(30, 8)])
    keys = transport.Keys.of(y)
    assert keys.weight.tolist() == pytest.approx([0.5] + 30 * [1 / 60])
    assert torch.equal(y[keys.place], keys.patches) and keys.place[0] == 0
    x = torch.rand(60, 8, generator=generator()) * 240
    potentials, place, _ = transport.move(x, keys, torch.zeros(31), range(1, 2001), generator())
    bound = exact(squares(x, y))
    assert 0.98 * bound < transport.value(squares(x, keys.patches), keys.weight, potentials) <= bound * (1 + 1e-5)
    assert (place == 0).float().mean() == pytest.approx(0.5, abs=0.07)


def test_potentials_of_other_patches_are_dropped():
    cost = squares(*sets("mixed"))
    spoilt = torch.linspace(-9, 9, 60)
    from_none = transport.ascend(cost, EVEN, torch.zeros(60), range(1, 100))
    assert torch.equal(transport.ascend(cost, EVEN, spoilt, range(1, 100)), from_none)
    assert not torch.equal(transport.ascend(cost, EVEN, from_none, range(10, 100)), from_none)


def test_patches_are_all_whole_ones_in_raster_order_in_whole_steps():
    picture = torch.rand(1, 2, 4, 5) * torch.tensor([1, 10])[None, :, None, None] + 3
    grid = transport.Grid.of(picture, 3)
    rows = grid.patches(picture, 3)
    assert rows.shape == (6, 18) and torch.equal(rows, rows.round())
    assert rows.abs().max() == grid.steps and 18 * grid.steps**2 <= 2**24 < 18 * (grid.steps + 1) ** 2
    seen = rows[4].view(2, 3, 3) * grid.step + grid.centre[0]
    assert torch.allclose(seen, picture[0, :, 1:4, 1:4], atol=0.51 * grid.step)


def test_distances_are_exact_in_any_order():
    picture = torch.rand(1, 5, 40, 40, generator=generator()) * 8
    x = transport.Grid.of(picture, 11).patches(picture, 11)
    assert torch.equal(transport.distances(x, x[::7]).double(), torch.cdist(x.double(), x[::7].double()).square().round())


def test_large_sets_are_drawn_from_and_go_in_parts(monkeypatch):
    x, y = sets("clustered")
    keys = transport.Keys.of(y)
    monkeypatch.setattr(transport, "SAMPLE", 32)
    potentials, random = torch.zeros(60), generator()
    for _ in range(20):  # each with another part of x
        potentials, place, moved = transport.move(x, keys, potentials, range(1, 31), random)
    cost, bound = squares(x, keys.patches), exact(squares(x, y))
    assert 0.8 * bound < transport.value(cost, keys.weight, potentials) <= bound * (1 + 1e-5)
    assert torch.equal(place, keys.place[(transport.distances(x, keys.patches) - potentials).argmin(1)])
    assert torch.allclose(moved, squares(x, y).gather(1, place[:, None])[:, 0], rtol=1e-3, atol=1e-5)
