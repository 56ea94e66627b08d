"""The range of the reals, as the log of a run records it and a diagnosis reads it."""

import dataclasses

import pytest
import torch

from equipoise.diagnosis.history import SignalHistory, SignalPoint
from equipoise.diagnosis.symptoms.data import describe_range, detect_data_out_of_range, follow_range

NOISE = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)


@pytest.mark.parametrize(
    "real",
    [
        NOISE,
        NOISE * 0.2,
        torch.cat([NOISE.sign(), -NOISE.sign()]),
        (torch.rand(64, 1, 16, 16) < 0.005).float() * 2 - 1,
        NOISE[0, 0, :, :2] * 1e-3,
        torch.zeros(4, 16, dtype=torch.int64),
        torch.zeros(0, 3, 8, 8),
    ],
    ids=["usual", "low contrast", "binary", "sparse", "points", "tokens", "empty"],
)
def test_usual_reals_are_not_recorded(real: torch.Tensor) -> None:
    assert describe_range(real) == {}


@pytest.mark.parametrize(
    ("real", "severity"),
    [
        (NOISE * 0.03 - 0.95, 0.5),
        (torch.full((4, 1, 8, 8), -1.0), 1.0),
        (NOISE * 127.5 + 127.5, 1.0),
        (NOISE * 1.2, 0.2),
    ],
    ids=["12 of 16 bits", "constant", "0 to 255", "slightly beyond"],
)
def test_unusual_reals_are_detected(real: torch.Tensor, severity: float) -> None:
    reals = describe_range(real)
    assert reals["low"] == pytest.approx(real.min().item())
    assert reals["deviation"] == pytest.approx(real.std(correction=0).item(), abs=1e-6)
    detection = detect_data_out_of_range(dataclasses.replace(SignalHistory(), reals=reals))
    assert detection is not None
    assert severity <= detection.severity <= 1
    assert detection.since == 0
    assert detection.evidence["real_mean"] == reals["mean"]


def test_nothing_is_detected_without_a_record() -> None:
    assert detect_data_out_of_range(SignalHistory()) is None
    assert SignalHistory.from_dict(SignalHistory(reals={"low": 0.0}).to_dict()).reals == {"low": 0.0}


def severity_after(progress: float, *readings: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Return the severity of the finding of a custom loop after readings of (real, fake); 0 without one."""
    reals = None
    for real, fake in readings:
        reals = follow_range(reals, real, fake)
    history = dataclasses.replace(SignalHistory(recent=(SignalPoint(100, progress, {}),)), reals=reals)
    detection = detect_data_out_of_range(history)
    return detection.severity if detection else 0.0


def test_range_of_a_custom_loop_follows_from_its_fakes() -> None:
    tanh, sigmoid, linear = NOISE * 0.5, (NOISE * 0.5).sigmoid(), NOISE * 4
    assert severity_after(0.5, (NOISE, tanh)) == 0
    assert severity_after(0.5, (NOISE * 127.5 + 127.5, tanh)) == 1
    assert severity_after(0.05, (NOISE * 127.5 + 127.5, tanh)) == 0.4, "perhaps the generator has no limit"
    assert severity_after(0.5, (NOISE, sigmoid)) == 1, "reals in [-1, 1], fakes in [0, 1]"
    assert severity_after(0.5, (NOISE, sigmoid), (NOISE, tanh)) == 0, "the fakes leave [0, 1] later"
    assert severity_after(0.5, (NOISE * 3, tanh), (NOISE * 3, linear)) == 0, "a generator without a limit"
    assert severity_after(0.5, (NOISE * 0.03, tanh)) >= 0.5
    assert severity_after(0.5, (NOISE.flatten(1)[:, None] * 0.03, tanh.flatten(1)[:, None])) == 0, "quiet sounds"


def test_range_is_unknown_without_fakes_and_final_once_it_fits() -> None:
    assert follow_range(None, NOISE, None) is None
    assert follow_range(None, None, NOISE) is None
    assert follow_range({}, NOISE * 100, NOISE) == {}
    assert follow_range(None, NOISE.flatten(1), NOISE.flatten(1)) == {}, "points"
    assert follow_range(None, NOISE.long(), NOISE) == {}
