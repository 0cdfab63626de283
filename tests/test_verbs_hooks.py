"""Shares of the work: what a meter tells, and that of a part."""

import pytest

from psal_cli.errors import CancelledError
from psal_cli.verbs.hooks import Meter, part_of, watched


@pytest.fixture
def told():
    return []


def meter_of(told, total):
    return Meter(lambda share, text: told.append((round(share, 6), text)), total)


def test_shares_are_those_of_the_costs(told):
    meter = meter_of(told, 10)
    meter.begin(2, "a")
    meter.spend(1)
    meter.begin(4, "b")  # what `a` had left is done
    meter.spend(2)
    meter.spend(100)  # never beyond its own end
    meter.begin(4, "c")
    assert told == [(0, "a"), (0.1, "a"), (0.2, "b"), (0.4, "b"), (0.6, "b"), (0.6, "c")]


def test_an_unknown_number_of_steps_comes_ever_nearer_to_the_end(told):
    meter = meter_of(told, 2)
    meter.begin(1, "a")
    for _ in range(30):
        meter.approach(1 / 4)
    assert [share for share, _ in told[:3]] == [0, 0.125, 0.21875] and 0.499 < told[-1][0] <= 0.5


def test_shares_never_fall_when_all_is_done_anew(told):
    meter = meter_of(told, 4)
    meter.begin(4, "first")
    meter.spend(2)
    meter.restart()
    meter.begin(4, "second")
    meter.spend(2)
    meter.spend(2)
    assert told == [(0, "first"), (0.5, "first"), (0.5, "second"), (0.75, "second"), (1, "second")]


def test_costs_that_were_expected_too_low_end_at_one(told):
    meter = meter_of(told, 1)
    meter.begin(1, "a")
    meter.begin(1, "b")
    meter.spend(1)
    assert told[-1] == (1, "b")


def test_nobody_needs_to_listen():
    meter = Meter(None, 0)
    meter.begin(0, "a")
    meter.spend(1)
    assert 0 <= meter.share <= 1


def test_a_part_tells_shares_of_the_whole(told):
    meter = Meter(part_of(lambda share, text: told.append((share, text)), 0.5, 0.75, ", part 2"), 2)
    meter.begin(2, "a")
    meter.spend(1)
    assert told == [(0.5, "a, part 2"), (0.625, "a, part 2")]
    assert part_of(None, 0, 1) is None


def test_a_cancel_is_asked_at_each_step(told):
    meter = Meter(watched(None, lambda: bool(told)), 2)
    meter.begin(2, "a")
    told.append("stop")
    with pytest.raises(CancelledError):
        meter.spend(1)
