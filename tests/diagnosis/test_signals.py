"""Signals: ranks by counting pairs, readings by numpy, and a window that may be put away half full."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.core.knobs import Knobs
from equipoise.core.observations import MetricReading
from equipoise.core.records import PhaseRecord, StepRecord
from equipoise.diagnosis.signals import LOGITS, Sense, Window, gather, rank, sense
from equipoise.pilot.pilot import ModelInfo, Pilot

Probability = Callable[[Tensor], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def area(first: Sequence[float], second: Sequence[float]) -> float:
    """The area under the curve by counting: a pair in order is 1, a tie one half."""
    won = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in first for b in second)
    return won / (len(first) * len(second))


@pytest.mark.parametrize("seed", range(5))
def test_rank_counts_pairs_with_ties(seed: int) -> None:
    first = torch.randint(-3, 5, (17,), generator=seeded(seed)).float()
    second = torch.randint(-4, 4, (23,), generator=seeded(seed + 100)).float()
    assert set(first.tolist()) & set(second.tolist()), "there are ties"
    expected = 2 * area(first.tolist(), second.tolist()) - 1
    assert rank(first, second).item() == pytest.approx(expected, abs=1e-6)
    assert rank(second, first).item() == pytest.approx(-expected, abs=1e-6)


def test_rank_of_certainty_and_of_ignorance() -> None:
    assert rank(torch.tensor([2.0, 3.0]), torch.tensor([-1.0, 1.0])).item() == 1
    assert rank(torch.tensor([-1.0, 1.0]), torch.tensor([2.0, 3.0])).item() == -1
    assert rank(torch.zeros(5), torch.zeros(3)).item() == 0


@pytest.mark.parametrize(
    "rising", [torch.sigmoid, torch.exp, lambda x: 3 * x - 7, lambda x: x**3], ids=["sigmoid", "exp", "line", "cube"]
)
def test_rank_is_the_same_for_every_rising_map(rising: Probability) -> None:
    first, second = torch.randn(40, generator=seeded(1)), torch.randn(50, generator=seeded(2)) + 0.3
    before = rank(first, second).item()
    assert 0 < abs(before) < 1
    assert rank(rising(first), rising(second)).item() == pytest.approx(before, abs=1e-6)


def test_rank_takes_any_shape_and_so_many_logits_at_most() -> None:
    first, second = torch.randn(6, 1, 4, generator=seeded(1)), torch.randn(5, 2, generator=seeded(2))
    assert rank(first, second).item() == rank(first.flatten(), second.flatten()).item()
    assert rank(first.bfloat16(), second.bfloat16()).dtype == torch.float32
    half = torch.cat([torch.zeros(LOGITS), torch.full((LOGITS,), 99.0)])
    assert rank(half, torch.zeros(3)).item() == 0.5, "of more they are taken from all places"


def test_rank_of_patches_is_that_of_all_images() -> None:
    """900 logits an image, as a 70 x 70 PatchGAN has them; the discriminator is wrong about the first."""
    real = torch.randn(16, 1, 30, 30, generator=seeded(1)) + 2
    fake = torch.randn(16, 1, 30, 30, generator=seeded(2))
    real[0] -= 4
    everything = (real.flatten()[:, None] > fake.flatten()[None, :]).float().mean().item() * 2 - 1
    assert rank(real, fake).item() == pytest.approx(everything, abs=0.05)


@pytest.mark.parametrize("side", [0, 1])
def test_what_is_no_number_has_no_rank(side: int) -> None:
    """Its sign is 0 to torch, as if the discriminator could not tell."""
    sides = [torch.randn(4, 2, generator=seeded(0)), torch.randn(4, 2, generator=seeded(1))]
    sides[side][2, 1] = torch.nan
    assert math.isnan(rank(*sides).item())
    result = read([StepRecord(1, 8, {"discriminator": PhaseRecord(logit_real=sides[0], logit_fake=sides[1])})]).signals
    assert result.rank_train_fake is not None
    assert math.isnan(result.rank_train_fake)
    assert result.sign_real is not None
    assert math.isnan(result.sign_real) == (side == 0)


def phase(seed: int, *, logits: bool = True) -> PhaseRecord:
    generator = seeded(seed)
    values = torch.randn(6, generator=generator)
    return PhaseRecord(
        total=values[0],
        terms={"adversarial": values[1], "penalty": values[2]},
        gradient_norms={"discriminator": values[3].abs(), "generator": values[4].abs()},
        update_ratios={"discriminator": values[5].abs(), "generator": values[5].abs() * 2},
        logit_real=torch.randn(8, generator=generator) + 1 if logits else None,
        logit_fake=torch.randn(8, generator=generator) if logits else None,
    )


def records(count: int, lazy: int = 1) -> list[StepRecord]:
    """Steps of two players; a phase of penalties only every so many steps."""
    result = []
    for step in range(1, count + 1):
        phases = {"discriminator": phase(step)}
        if step % lazy == 0:
            phases["penalties"] = PhaseRecord(total=torch.tensor(float(step)), terms={"r1": torch.tensor(step / 2)})
        phases["generator"] = phase(step + 1000, logits=False)
        result.append(StepRecord(step, 8 * step, phases, non_finite=torch.tensor(step % 3 == 0)))
    return result


def read(steps: Sequence[StepRecord], probability: Probability | None = None) -> Sense:
    window = Window()
    for record in steps:
        window = gather(window, record, probability)
    return sense(window, {})


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_readings_are_mean_minimum_maximum_and_last(count: int) -> None:
    steps = records(count)
    loss = read(steps).loss
    assert len(loss) == 8
    for name, reading in loss.items():
        owner, _, term = name.partition(".")
        phases = [record.phases[owner] for record in steps]
        values = np.array([(p.total if term == "total" else p.terms[term]).item() for p in phases])
        expected = (values.mean(), values.min(), values.max(), values[-1])
        result = (reading.mean, reading.min, reading.max, reading.last)
        assert result == pytest.approx(expected, rel=1e-5, abs=1e-6), name


def test_signals_are_read_from_the_phases_that_they_are_of() -> None:
    steps = records(9)
    signals = read(steps, torch.sigmoid).signals

    def mean(of: Callable[[PhaseRecord], Tensor], owner: str = "discriminator") -> float:
        return float(np.mean([of(record.phases[owner]).item() for record in steps]))

    assert signals.loss_d == pytest.approx(mean(lambda p: p.total), abs=1e-6)
    assert signals.loss_g == pytest.approx(mean(lambda p: p.total, "generator"), abs=1e-6)
    ranks = [
        2 * area(p.logit_real.tolist(), p.logit_fake.tolist()) - 1 for p in (s.phases["discriminator"] for s in steps)
    ]
    assert signals.rank_train_fake == pytest.approx(np.mean(ranks), abs=1e-6)
    assert signals.sign_real == pytest.approx(mean(lambda p: p.logit_real.sign().mean()), abs=1e-6)
    real = mean(lambda p: (1 / (1 + (-p.logit_real).exp())).mean())
    fake = mean(lambda p: (1 / (1 + (-p.logit_fake).exp())).mean())
    assert (signals.probability_real, signals.probability_fake) == pytest.approx((real, fake), abs=1e-6)
    assert signals.non_finite == 3
    last = steps[-1].phases
    assert signals.update_ratio_d == pytest.approx(last["discriminator"].update_ratios["discriminator"].item())
    assert signals.update_ratio_g == pytest.approx(last["generator"].update_ratios["generator"].item())


def test_gradient_ratio_is_discriminator_over_generator() -> None:
    def record(step: int, d: float, g: float) -> StepRecord:
        phases = {
            "discriminator": PhaseRecord(gradient_norms={"discriminator": torch.tensor(d)}),
            "generator": PhaseRecord(gradient_norms={"generator": torch.tensor(g)}),
        }
        return StepRecord(step, step, phases)

    signals = read([record(1, 3.0, 1.0), record(2, 5.0, 3.0)]).signals
    assert (signals.gradient_norm_d, signals.gradient_norm_g, signals.gradient_ratio) == (4.0, 2.0, 2.0)
    still = read([record(1, 3.0, 0.0)]).signals
    assert still.gradient_norm_g == 0
    assert still.gradient_ratio is None, "nothing is divided by 0"


def test_a_loss_without_probabilities_has_none() -> None:
    without, with_them = read(records(3)).signals, read(records(3), torch.sigmoid).signals
    assert without.probability_real is None
    assert without.probability_fake is None
    assert with_them.probability_real is not None
    for name in ("rank_train_fake", "sign_real", "loss_d", "gradient_ratio"):
        assert getattr(without, name) == getattr(with_them, name) is not None


@pytest.mark.parametrize("lazy", [2, 3, 5])
def test_a_lazy_phase_is_read_over_the_steps_that_had_it(lazy: int) -> None:
    steps = records(10, lazy=lazy)
    had = [step for step in range(1, 11) if step % lazy == 0]
    loss = read(steps).loss
    assert loss["penalties.total"].mean == pytest.approx(np.mean(had))
    assert (loss["penalties.r1"].min, loss["penalties.r1"].max) == (had[0] / 2, had[-1] / 2)
    assert loss["penalties.total"].last == had[-1]
    every = read(records(10, lazy=99))
    assert "penalties.total" not in every.loss
    assert every.loss["discriminator.total"] == loss["discriminator.total"]


def test_a_number_is_read_over_the_steps_that_had_it() -> None:
    """A knob turned on adds a term; a loop of one's own tells of a player only in the steps in which it moves."""
    seen = [{"adversarial": 9.0, "r1": 4.0}, {"adversarial": 1.0}, {"penalty": 7.0, "adversarial": 2.0}, {"r1": 2.0}]
    steps = [
        StepRecord(step, 8 * step, {"discriminator": PhaseRecord(terms={k: torch.tensor(v) for k, v in terms.items()})})
        for step, terms in enumerate(seen, start=1)
    ]
    loss = read(steps).loss
    assert {name: dataclasses.astuple(reading) for name, reading in loss.items()} == {
        "discriminator.adversarial": (4.0, 1.0, 9.0, 2.0),
        "discriminator.r1": (3.0, 2.0, 4.0, 2.0),
        "discriminator.penalty": (7.0, 7.0, 7.0, 7.0),
    }


def test_a_window_of_an_older_state_is_read() -> None:
    """One count for all numbers of a phase."""
    window = gather(gather(Window(), records(1)[0]), records(2)[1])
    phases = {name: (tally.names, 2) for name, tally in window.phases.items()}
    assert sense(Window.of(window.tensors(), phases), {}) == sense(window, {})


def test_probes_are_the_last_ones_seen() -> None:
    train, held_out = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0])
    probed = dataclasses.replace(records(1)[0], probe_train=train, probe_held_out=held_out)
    expected = 2 * area(train.tolist(), held_out.tolist()) - 1
    assert 0 < expected < 1
    assert read([probed]).signals.rank_train_held_out == pytest.approx(expected)
    assert read([probed, *records(2)]).signals.rank_train_held_out == pytest.approx(expected)
    assert read(records(2)).signals.rank_train_held_out is None
    one_sided = dataclasses.replace(probed, probe_held_out=None)
    assert read([one_sided]).signals.rank_train_held_out is None


def test_nothing_gathered_is_nothing_known() -> None:
    result = sense(Window(), {"fid": MetricReading(3.0, 100)})
    assert result.loss == {}
    assert result.signals.metrics == {"fid": MetricReading(3.0, 100)}
    assert result.signals.non_finite == 0
    values = dataclasses.asdict(result.signals)
    assert {name for name, value in values.items() if value is not None} == {"non_finite", "metrics"}


def test_what_is_not_finite_is_counted_and_read_as_it_is() -> None:
    bad = StepRecord(1, 8, {"generator": PhaseRecord(total=torch.tensor(math.nan))}, non_finite=torch.tensor(True))
    good = StepRecord(2, 16, {"generator": PhaseRecord(total=torch.tensor(1.0))}, non_finite=torch.tensor(False))
    result = read([bad, good])
    assert result.signals.non_finite == 1
    assert math.isnan(result.loss["generator.total"].mean)
    assert result.loss["generator.total"].last == 1.0


def test_gathering_changes_no_window() -> None:
    steps = records(3)
    first = gather(Window(), steps[0])
    before = sense(first, {})
    gather(gather(first, steps[1]), steps[2])
    assert sense(first, {}) == before


def test_gathering_keeps_no_graph() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    record = StepRecord(1, 8, {"generator": PhaseRecord(total=weight * 3, terms={"a": weight * 2})})
    window = gather(gather(Window(), record), record)
    assert not window.phases["generator"].total.requires_grad


@pytest.mark.parametrize("cut", [2, 3, 4, 6])
@pytest.mark.parametrize("lazy", [1, 2])
def test_a_window_put_away_half_full_reads_the_same_later(cut: int, lazy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through what a checkpoint holds: tensors as they are, values by way of JSON."""
    monkeypatch.setattr("equipoise.pilot.pilot.EAGER", 0)

    def pilot() -> Pilot:
        return Pilot("fixed", steps=20, knobs=Knobs(), rules=ModelInfo(probability=torch.sigmoid), sense_every=7)

    steps = records(14, lazy)
    whole, first, second = pilot(), pilot(), pilot()
    for one in (whole, first):
        one.measured("fid", 12.5, 0)
    expected = [decision for record in steps if (decision := whole.observe(record))]
    for record in steps[:cut]:
        assert first.observe(record) is None
    tensors, values = first.state()
    assert len(tensors) >= 9
    second.restore(cut, 8 * cut, {k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(values)))
    result = [decision for record in steps[cut:] if (decision := second.observe(record))]
    assert result == expected
    assert [decision.observation.step for decision in result] == [7, 14]
    assert result[0].observation.signals.metrics["fid"] == MetricReading(12.5, 56)
