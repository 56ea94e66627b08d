"""The symptom that the data show themselves: values that use little of their range, or leave it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from equipoise.diagnosis.code_changes import SCALE_REALS
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import HINT, Detection, SeverityScale, Symptom

if TYPE_CHECKING:
    from torch import Tensor

DEVIATION = SeverityScale(0.08, 0.05, 0.01)
"""Standard deviation of all values of the reals. Photographs have 0.4 to 0.6, 12-bit values in 16-bit files 0.03."""
EXTENT = SeverityScale(1.1, 1.5, 3.0)
"""Largest absolute value of the reals, which belong in [-1, 1]. In another range: relative to its centre and half its
width."""
RANGES = ((0.0, 1.0), (-1.0, 1.0))
"""Ranges of usual last layers, sigmoid and tanh. A generator whose samples leave both has no limit."""
ROUNDING = 1e-3
STARTED = 0.1
"""Share of the run after which the samples of a generator without a limit have left these ranges."""


def describe_range(real: "Tensor") -> dict[str, float]:
    """Return the range of real images or sequences, (B, C, ...) float, if it is unusual; otherwise nothing.

    Keys: `low`, `high`, `mean`, `deviation`. Points and tokens have no usual range.
    """
    if real.ndim < 3 or not real.is_floating_point() or not real.numel():
        return {}
    result = _range(real, with_deviation=True)
    return result if _severities(result) else {}


def follow_range(
    known: Mapping[str, float] | None, real: "Tensor | None", fake: "Tensor | None"
) -> Mapping[str, float] | None:
    """Return what is known about the ranges of a custom loop after one more reading with samples (N, C, ...).

    `known`: the result of the previous reading, None before the first with samples. The result has the range of the
    first reals and, as `fake_low` and `fake_high`, that of all fakes so far, which shows what the generator can make.
    It is empty as soon as the reals fit. Waits for the device, unless `known` is empty.
    """
    if real is None or fake is None or (known is not None and not known):
        return known
    if min(real.ndim, fake.ndim) < 3 or not (real.is_floating_point() and fake.is_floating_point() and real.numel()):
        return {}
    reals = _range(real, real.ndim >= 4) if known is None else dict(known)
    low, high = float(fake.detach().min()), float(fake.detach().max())
    reals |= {"fake_low": min(low, reals.get("fake_low", low)), "fake_high": max(high, reals.get("fake_high", high))}
    return reals if _severities(reals) else {}


def _range(real: "Tensor", with_deviation: bool) -> dict[str, float]:
    """Return the range of reals. The deviation means little for sequences, such as quiet sounds."""
    values = real.detach().float()
    result = {"low": float(values.min()), "high": float(values.max()), "mean": float(values.mean())}
    return result | ({"deviation": float(values.std(correction=0))} if with_deviation else {})


def detect_data_out_of_range(history: SignalHistory) -> Detection | None:
    """Detect reals that are nearly constant, such as nearly black images, or that leave the generator's range.

    That is [-1, 1] for the models of this package; in a custom loop it follows from the fakes, at first as a hint.
    """
    reals = history.reals or {}
    severities = _severities(reals)
    if not severities:
        return None
    severity = max(severities)
    if "fake_low" in reals and history.progress < STARTED:
        severity = min(severity, HINT)
    names = {name: name if name.startswith("fake") else f"real_{name}" for name in reals}
    return Detection(severity, 0.9, {names[name]: value for name, value in reals.items()}, since=0)


def _severities(reals: Mapping[str, float]) -> list[float]:
    """Return the severities of what is wrong with the range of the reals."""
    bounds = _generator_range(reals)
    if not reals or bounds is None:
        return []
    centre, half = (bounds[1] + bounds[0]) / 2, (bounds[1] - bounds[0]) / 2
    extent = max(centre - reals["low"], reals["high"] - centre) / half
    severities = [EXTENT.severity(extent)]
    if "deviation" in reals:
        severities.append(DEVIATION.severity(reals["deviation"] / half))
    return [severity for severity in severities if severity is not None]


def _generator_range(reals: Mapping[str, float]) -> tuple[float, float] | None:
    """Return the smallest usual range that holds all fakes so far; None if there is none."""
    if "fake_low" not in reals:
        return RANGES[-1]
    for low, high in RANGES:
        if reals["fake_low"] >= low - ROUNDING and reals["fake_high"] <= high + ROUNDING:
            return low, high
    return None


DATA_OUT_OF_RANGE = Symptom(
    id="data_out_of_range",
    order=5,
    detect=detect_data_out_of_range,
    reads=(),
    meaning="the data use little of the generator's range, from -1 to 1, such as images that are nearly black, or "
    "leave it",
    test="standard deviation, and largest absolute value, of all values of the first batch of reals, which the log of "
    "a run holds if they are unusual. For `Pilot`: relative to [0, 1] or [-1, 1] if all fakes so far are in it (at "
    "most 0.4 in the first tenth of the run). Not detected in logs of other programs",
    scales={"real_deviation": DEVIATION, "real extent": EXTENT},
    source="definition of the range; 12-bit values in 16-bit files",
    advice="look at the data first (`equipoise inspect FOLDER`); set data.black and data.white to the values that are "
    "black and white, and train again: other findings may be consequences of this one",
    loop_advice=(SCALE_REALS,),
)
