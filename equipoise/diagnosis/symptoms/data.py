"""The symptom that the data show themselves: values that use little of their range, or leave it."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from equipoise.diagnosis.code_changes import SCALE_REALS
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptom import Detection, SeverityScale, Symptom

if TYPE_CHECKING:
    from torch import Tensor

DEVIATION = SeverityScale(0.08, 0.05, 0.01)
"""Standard deviation of all values of the reals. Photographs have 0.4 to 0.6, 12-bit values in 16-bit files 0.03."""
EXTENT = SeverityScale(1.1, 1.5, 3.0)
"""Largest absolute value of the reals, which belong in [-1, 1]."""


def describe_range(real: "Tensor") -> dict[str, float]:
    """Return the range of real images or sequences, (B, C, ...) float, if it is unusual; otherwise nothing.

    Keys: `low`, `high`, `mean`, `deviation`. Points and tokens have no usual range.
    """
    if real.ndim < 3 or not real.is_floating_point() or not real.numel():
        return {}
    values = real.detach().float()
    numbers = (values.min(), values.max(), values.mean(), values.std(correction=0))
    low, high, mean, deviation = (float(number) for number in numbers)
    result = {"low": low, "high": high, "mean": mean, "deviation": deviation}
    return result if _severities(result) else {}


def detect_data_out_of_range(history: SignalHistory) -> Detection | None:
    """Detect reals that are nearly constant, such as nearly black images, or that leave [-1, 1]."""
    severities = _severities(history.reals)
    evidence = {f"real_{name}": value for name, value in history.reals.items()}
    return Detection(max(severities), 0.9, evidence, since=0) if severities else None


def _severities(reals: Mapping[str, float]) -> list[float]:
    """Return the severities of what is wrong with the range of the reals."""
    if not reals:
        return []
    extent = max(abs(reals["low"]), abs(reals["high"]))
    severities = (DEVIATION.severity(reals["deviation"]), EXTENT.severity(extent))
    return [severity for severity in severities if severity is not None]


DATA_OUT_OF_RANGE = Symptom(
    id="data_out_of_range",
    order=5,
    detect=detect_data_out_of_range,
    reads=(),
    meaning="the data use little of the range from -1 to 1, such as images that are nearly black, or leave it",
    test="standard deviation, and largest absolute value, of all values of the first batch of reals, which the log of "
    "a run holds if they are unusual; not detected in logs of other programs",
    scales={"real_deviation": DEVIATION, "real extent": EXTENT},
    source="definition of the range; 12-bit values in 16-bit files",
    advice="look at the data first (`equipoise inspect FOLDER`); set data.black and data.white to the values that are "
    "black and white, and train again: what follows may be a consequence",
    loop_advice=(SCALE_REALS,),
)
