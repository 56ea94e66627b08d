"""The range of the reals, as the log of a run records it and a diagnosis reads it."""

import dataclasses

import pytest
import torch

from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptoms.data import describe_range, detect_data_out_of_range

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
