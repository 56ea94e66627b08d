"""Growing networks: schedule, the level as a buffer, and changes between resolutions, exact to the bit."""

import copy

import pytest
import torch
from torch import nn

from equipoise.nn.growing import (
    DOUBLING,
    Fade,
    GrowthLevel,
    GrowthSchedule,
    blend,
    enlarge,
    equal_fades,
    fade_details,
    halve,
    split_level,
)
from equipoise.training.weights import update_averages


def images(side=8, seed=0):
    return torch.randn(3, 2, side, side, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("position", "fade"),
    [
        (0, Fade(0, 1.0)),
        (DOUBLING, Fade(1, 1.0)),
        (DOUBLING + 1, Fade(2, 2**-20)),
        (3 * DOUBLING // 2, Fade(2, 0.5)),
        (2 * DOUBLING - 1, Fade(2, 1 - 2**-20)),
        (2 * DOUBLING, Fade(2, 1.0)),
    ],
)
def test_position_is_the_highest_level_and_its_share(position, fade):
    assert split_level(position) == fade


def test_schedule_is_linear_within_fades_and_constant_between():
    schedule = GrowthSchedule(1, ((0.1, 0.2), (0.35, 0.5)))
    levels = [schedule.position(progress) / DOUBLING for progress in (0, 0.1, 0.15, 0.2, 0.3, 0.35, 0.425, 0.5, 1)]
    assert levels == pytest.approx([1, 1, 1.5, 2, 2, 2, 2.5, 3, 3], abs=1e-6)
    exact = [schedule.position(progress) % DOUBLING for progress in (0, 0.1, 0.2, 0.35, 0.5, 1)]
    assert exact == [0] * 6


def test_immediate_doubling_and_no_growth():
    assert GrowthSchedule(1, ((0.5, 0.5),)).position(0.4999) == DOUBLING
    assert GrowthSchedule(1, ((0.5, 0.5),)).position(0.5) == 2 * DOUBLING
    assert GrowthSchedule(3).position(0.7) == 3 * DOUBLING


def test_equal_fades_are_those_of_the_paper():
    """Karras 2018: 600,000 images per level and per fade, of 12 million images; 8 doublings from 4 to 1,024."""
    million = [(12 * start, 12 * end) for start, end in equal_fades(8, 0.8)]
    expected = [(0.6 + 1.2 * index, 1.2 + 1.2 * index) for index in range(8)]
    assert [number for fade in million for number in fade] == pytest.approx([n for fade in expected for n in fade])
    assert equal_fades(0, 0.5) == ()


def test_halving_is_the_mean_and_undoes_enlarging_to_the_bit():
    x = images(16)
    torch.testing.assert_close(halve(x, 2), x.reshape(3, 2, 4, 4, 4, 4).mean((3, 5)))
    for times in (1, 2, 3):
        assert torch.equal(halve(enlarge(x, times), times), x)
    assert torch.equal(enlarge(x, 0), x)
    assert torch.equal(enlarge(x)[..., 1::2, ::2], x)


def test_blend_is_exact_at_both_ends():
    low, high = images(seed=1), images(seed=2) * 1e4
    assert torch.equal(blend(low, high, 0.0), low)
    assert torch.equal(blend(low, high, 1.0), high)
    torch.testing.assert_close(blend(low, high, 0.25), 0.75 * low + 0.25 * high)


def test_details_of_reals_fade_in():
    x = images(16)
    low = enlarge(halve(x, 2), 2)  # level 2 of images of level 2 + 2
    assert torch.equal(fade_details(x, Fade(3, 1.0), 3), x)
    torch.testing.assert_close(fade_details(x, Fade(2, 0.25), 3), 0.75 * low + 0.25 * x)
    seen_by_network = halve(fade_details(x, Fade(2, 0.25), 3), 1)
    torch.testing.assert_close(seen_by_network, 0.75 * enlarge(halve(x, 2)) + 0.25 * halve(x))


def test_level_is_an_integer_that_averages_and_copies_have_exactly():
    network = nn.ModuleDict({"level": GrowthLevel(3), "layer": nn.Linear(2, 2)})
    average = copy.deepcopy(network)
    network["level"].write(DOUBLING + 77)
    assert network.state_dict()["level.position"].dtype == torch.int64
    update_averages({"one": average}, {"one": network}, decay=0.999)
    assert average["level"].read() == DOUBLING + 77
    assert average["level"].fade() == Fade(2, 77 / DOUBLING)
    assert copy.deepcopy(average)["level"].read() == DOUBLING + 77
    other = nn.ModuleDict({"level": GrowthLevel(0), "layer": nn.Linear(2, 2)})
    other.load_state_dict(network.state_dict())
    assert other["level"].last_read == DOUBLING + 77


def test_level_stays_on_the_cpu_and_an_integer():
    level = GrowthLevel(2)
    nn.ModuleDict({"level": level}).to(device="meta", dtype=torch.float64)
    assert (level.position.device.type, level.position.dtype) == ("cpu", torch.int64)
    with torch.device("meta"):
        assert GrowthLevel(2).read() == 2 * DOUBLING
