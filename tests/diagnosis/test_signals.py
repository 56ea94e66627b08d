"""Signals: ranks against pair counts, statistics against numpy, and saving of a partly filled window."""

import dataclasses
import json
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from equipoise.core.knobs import Knobs
from equipoise.core.model import PhaseRecord, StepRecord
from equipoise.core.observations import MetricReading
from equipoise.diagnosis.signals import MAX_LOGITS, SignalWindow, WindowStats, accumulate, compute_signals, rank
from equipoise.pilot.pilot import ModelInfo, Pilot

Probability = Callable[[Tensor], Tensor]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def area(first: Sequence[float], second: Sequence[float]) -> float:
    """Compute the area under the curve by counting: an ordered pair is 1, a tie one half."""
    ordered = sum(1.0 if a > b else 0.5 if a == b else 0.0 for a in first for b in second)
    return ordered / (len(first) * len(second))


@pytest.mark.parametrize("seed", range(5))
def test_rank_equals_pair_counts_with_ties(seed: int) -> None:
    first = torch.randint(-3, 5, (17,), generator=seeded(seed)).float()
    second = torch.randint(-4, 4, (23,), generator=seeded(seed + 100)).float()
    assert set(first.tolist()) & set(second.tolist()), "there are ties"
    expected = 2 * area(first.tolist(), second.tolist()) - 1
    assert rank(first, second).item() == pytest.approx(expected, abs=1e-6)
    assert rank(second, first).item() == pytest.approx(-expected, abs=1e-6)


def test_rank_of_separated_and_of_equal_logits() -> None:
    assert rank(torch.tensor([2.0, 3.0]), torch.tensor([-1.0, 1.0])).item() == 1
    assert rank(torch.tensor([-1.0, 1.0]), torch.tensor([2.0, 3.0])).item() == -1
    assert rank(torch.zeros(5), torch.zeros(3)).item() == 0


@pytest.mark.parametrize(
    "increasing",
    [torch.sigmoid, torch.exp, lambda x: 3 * x - 7, lambda x: x**3],
    ids=["sigmoid", "exp", "line", "cube"],
)
def test_rank_is_invariant_under_increasing_maps(increasing: Probability) -> None:
    first, second = torch.randn(40, generator=seeded(1)), torch.randn(50, generator=seeded(2)) + 0.3
    before = rank(first, second).item()
    assert 0 < abs(before) < 1
    assert rank(increasing(first), increasing(second)).item() == pytest.approx(before, abs=1e-6)


def test_rank_takes_any_shape_and_limits_the_number_of_logits() -> None:
    first, second = torch.randn(6, 1, 4, generator=seeded(1)), torch.randn(5, 2, generator=seeded(2))
    assert rank(first, second).item() == rank(first.flatten(), second.flatten()).item()
    assert rank(first.bfloat16(), second.bfloat16()).dtype == torch.float32
    half = torch.cat([torch.zeros(MAX_LOGITS), torch.full((MAX_LOGITS,), 99.0)])
    assert rank(half, torch.zeros(3)).item() == 0.5, "the subsample is evenly spaced"


def test_rank_of_patches_uses_all_images() -> None:
    """900 logits per image, as of a 70 × 70 PatchGAN; the discriminator is wrong about the first image."""
    real = torch.randn(16, 1, 30, 30, generator=seeded(1)) + 2
    fake = torch.randn(16, 1, 30, 30, generator=seeded(2))
    real[0] -= 4
    everything = (real.flatten()[:, None] > fake.flatten()[None, :]).float().mean().item() * 2 - 1
    assert rank(real, fake).item() == pytest.approx(everything, abs=0.05)


@pytest.mark.parametrize("side", [0, 1])
def test_rank_of_nan_is_nan(side: int) -> None:
    """torch defines its sign as 0, which would mean that the discriminator cannot distinguish."""
    sides = [torch.randn(4, 2, generator=seeded(0)), torch.randn(4, 2, generator=seeded(1))]
    sides[side][2, 1] = torch.nan
    assert math.isnan(rank(*sides).item())
    result = read_signals(
        [StepRecord(1, 8, {"discriminator": PhaseRecord(logit_real=sides[0], logit_fake=sides[1])})]
    ).signals
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
    """Return steps of two players, with a phase of penalties every `lazy` steps."""
    result = []
    for step in range(1, count + 1):
        phases = {"discriminator": phase(step)}
        if step % lazy == 0:
            phases["penalties"] = PhaseRecord(total=torch.tensor(float(step)), terms={"r1": torch.tensor(step / 2)})
        phases["generator"] = phase(step + 1000, logits=False)
        result.append(StepRecord(step, 8 * step, phases, non_finite=torch.tensor(step % 3 == 0)))
    return result


def read_signals(steps: Sequence[StepRecord], probability: Probability | None = None) -> WindowStats:
    window = SignalWindow()
    for record in steps:
        window = accumulate(window, record, probability)
    return compute_signals(window, {})


@pytest.mark.parametrize("count", [1, 2, 7, 50])
def test_statistics_are_mean_minimum_maximum_and_last(count: int) -> None:
    steps = records(count)
    loss = read_signals(steps).loss
    assert len(loss) == 8
    for name, reading in loss.items():
        owner, _, term = name.partition(".")
        phases = [record.phases[owner] for record in steps]
        values = np.array([(p.total if term == "total" else p.terms[term]).item() for p in phases])
        expected = (values.mean(), values.min(), values.max(), values[-1])
        result = (reading.mean, reading.min, reading.max, reading.last)
        assert result == pytest.approx(expected, rel=1e-5, abs=1e-6), name


def test_signals_come_from_the_right_phases() -> None:
    steps = records(9)
    signals = read_signals(steps, torch.sigmoid).signals

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

    signals = read_signals([record(1, 3.0, 1.0), record(2, 5.0, 3.0)]).signals
    assert (signals.gradient_norm_d, signals.gradient_norm_g, signals.gradient_ratio) == (4.0, 2.0, 2.0)
    still = read_signals([record(1, 3.0, 0.0)]).signals
    assert still.gradient_norm_g == 0
    assert still.gradient_ratio is None, "no division by 0"


def test_share_of_the_adversarial_gradient_is_a_term_of_the_generator() -> None:
    window = SignalWindow()
    for step, share in enumerate((0.25, None, 0.75), start=1):
        terms = {} if share is None else {"adversarial_share": torch.tensor(share)}
        record = StepRecord(step, step, {"generator": PhaseRecord(torch.tensor(1.0), terms)})
        window = accumulate(window, record)
    assert compute_signals(window, {}).signals.adversarial_share == 0.5, "over the steps in which it was measured"


def test_loss_without_probabilities_has_no_probability_signals() -> None:
    without, with_probability = read_signals(records(3)).signals, read_signals(records(3), torch.sigmoid).signals
    assert without.probability_real is None
    assert without.probability_fake is None
    assert with_probability.probability_real is not None
    for name in ("rank_train_fake", "sign_real", "loss_d", "gradient_ratio"):
        assert getattr(without, name) == getattr(with_probability, name) is not None


@pytest.mark.parametrize("lazy", [2, 3, 5])
def test_statistics_of_a_lazy_phase_cover_its_own_steps(lazy: int) -> None:
    steps = records(10, lazy=lazy)
    lazy_steps = [step for step in range(1, 11) if step % lazy == 0]
    loss = read_signals(steps).loss
    assert loss["penalties.total"].mean == pytest.approx(np.mean(lazy_steps))
    assert (loss["penalties.r1"].min, loss["penalties.r1"].max) == (lazy_steps[0] / 2, lazy_steps[-1] / 2)
    assert loss["penalties.total"].last == lazy_steps[-1]
    every = read_signals(records(10, lazy=99))
    assert "penalties.total" not in every.loss
    assert every.loss["discriminator.total"] == loss["discriminator.total"]


def test_statistics_of_a_scalar_cover_the_steps_that_had_it() -> None:
    """A knob that is turned on adds a term; a custom loop reports a network only in the steps that update it."""
    terms_by_step = [
        {"adversarial": 9.0, "r1": 4.0},
        {"adversarial": 1.0},
        {"penalty": 7.0, "adversarial": 2.0},
        {"r1": 2.0},
    ]
    steps = [
        StepRecord(step, 8 * step, {"discriminator": PhaseRecord(terms={k: torch.tensor(v) for k, v in terms.items()})})
        for step, terms in enumerate(terms_by_step, start=1)
    ]
    loss = read_signals(steps).loss
    assert {name: dataclasses.astuple(reading) for name, reading in loss.items()} == {
        "discriminator.adversarial": (4.0, 1.0, 9.0, 2.0),
        "discriminator.r1": (3.0, 2.0, 4.0, 2.0),
        "discriminator.penalty": (7.0, 7.0, 7.0, 7.0),
    }


def test_window_of_an_older_checkpoint() -> None:
    """It has one count for all scalars of a phase."""
    window = accumulate(accumulate(SignalWindow(), records(1)[0]), records(2)[1])
    phases = {name: (stats.names, 2) for name, stats in window.phases.items()}
    assert compute_signals(SignalWindow.from_tensors(window.tensors(), phases), {}) == compute_signals(window, {})


def test_probes_are_the_latest() -> None:
    train, held_out = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 0.0])
    probed = dataclasses.replace(records(1)[0], probe_train=train, probe_held_out=held_out)
    expected = 2 * area(train.tolist(), held_out.tolist()) - 1
    assert 0 < expected < 1
    assert read_signals([probed]).signals.rank_train_held_out == pytest.approx(expected)
    assert read_signals([probed, *records(2)]).signals.rank_train_held_out == pytest.approx(expected)
    assert read_signals(records(2)).signals.rank_train_held_out is None
    one_sided = dataclasses.replace(probed, probe_held_out=None)
    assert read_signals([one_sided]).signals.rank_train_held_out is None


def test_empty_window_has_no_signals() -> None:
    result = compute_signals(SignalWindow(), {"fid": MetricReading(3.0, 100)})
    assert result.loss == {}
    assert result.signals.metrics == {"fid": MetricReading(3.0, 100)}
    assert result.signals.non_finite == 0
    values = dataclasses.asdict(result.signals)
    assert {name for name, value in values.items() if value is not None} == {"non_finite", "metrics"}


def test_non_finite_values_are_counted_and_reported() -> None:
    bad = StepRecord(1, 8, {"generator": PhaseRecord(total=torch.tensor(math.nan))}, non_finite=torch.tensor(True))
    good = StepRecord(2, 16, {"generator": PhaseRecord(total=torch.tensor(1.0))}, non_finite=torch.tensor(False))
    result = read_signals([bad, good])
    assert result.signals.non_finite == 1
    assert math.isnan(result.loss["generator.total"].mean)
    assert result.loss["generator.total"].last == 1.0


def test_accumulate_does_not_change_a_window() -> None:
    steps = records(3)
    first = accumulate(SignalWindow(), steps[0])
    before = compute_signals(first, {})
    accumulate(accumulate(first, steps[1]), steps[2])
    assert compute_signals(first, {}) == before


def test_accumulate_keeps_no_graph() -> None:
    weight = torch.tensor(2.0, requires_grad=True)
    record = StepRecord(1, 8, {"generator": PhaseRecord(total=weight * 3, terms={"a": weight * 2})})
    window = accumulate(accumulate(SignalWindow(), record), record)
    assert not window.phases["generator"].total.requires_grad


@pytest.mark.parametrize("cut", [2, 3, 4, 6])
@pytest.mark.parametrize("lazy", [1, 2])
def test_partly_filled_window_survives_a_checkpoint(cut: int, lazy: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a checkpoint stores it: tensors unchanged, values as JSON."""
    monkeypatch.setattr("equipoise.pilot.pilot.DENSE_STEPS", 0)

    def pilot() -> Pilot:
        return Pilot("fixed", steps=20, knobs=Knobs(), model_info=ModelInfo(probability=torch.sigmoid), sense_every=7)

    steps = records(14, lazy)
    uninterrupted, first, second = pilot(), pilot(), pilot()
    for pilot_before_cut in (uninterrupted, first):
        pilot_before_cut.record_metric("fid", 12.5, 0)
    expected = [decision for record in steps if (decision := uninterrupted.observe(record))]
    for record in steps[:cut]:
        assert first.observe(record) is None
    tensors, values = first.state()
    assert len(tensors) >= 9
    second.restore(cut, 8 * cut, {k: v.clone() for k, v in tensors.items()}, json.loads(json.dumps(values)))
    result = [decision for record in steps[cut:] if (decision := second.observe(record))]
    assert result == expected
    assert [decision.observation.step for decision in result] == [7, 14]
    assert result[0].observation.signals.metrics["fid"] == MetricReading(12.5, 56)
