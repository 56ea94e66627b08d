"""The curves of a run: which there are, what each means, and their points."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from equipoise.errors import RunError
from equipoise.runs.run import EventLine
from equipoise.runs.run_index import LiveRun
from equipoise.runs.series import Axis, CurvePoints


class CurveInfo(NamedTuple):
    """Name, group, unit and meaning of a curve."""

    name: str
    group: str
    unit: str
    help: str


LOGITS = "mean logit of the discriminator"
SIGNALS: tuple[CurveInfo, ...] = (
    CurveInfo(
        "rank_train_fake", "rank", "", "how well D separates training reals from fakes: 0 not at all, 1 perfectly"
    ),
    CurveInfo("rank_train_held_out", "rank", "", "how well D separates training reals from held-out reals: 0 is right"),
    CurveInfo("sign_real", "rank", "", "share of reals with a positive logit, minus that with a negative one"),
    CurveInfo("sign_fake", "rank", "", "share of fakes with a positive logit, minus that with a negative one"),
    CurveInfo("accuracy_d", "probability", "", "share of reals and fakes that D classifies correctly"),
    CurveInfo("probability_real", "probability", "", "mean probability, according to D, that a real is real: D(x)"),
    CurveInfo("probability_fake", "probability", "", "mean probability, according to D, that a fake is real: D(G(z))"),
    CurveInfo("loss_g", "loss", "", "total of the generator, with all terms; does not compare across losses"),
    CurveInfo("loss_d", "loss", "", "total of the discriminator, with all terms; does not compare across losses"),
    CurveInfo("adversarial_g", "loss", "", "adversarial term of the generator"),
    CurveInfo("adversarial_d", "loss", "", "loss of the discriminator without penalties"),
    CurveInfo("ideal_d", "loss", "", "value of adversarial_d if the fakes were distributed as the reals"),
    CurveInfo("loss_d_real", "loss", "", "part of the discriminator's loss on reals"),
    CurveInfo("loss_d_fake", "loss", "", "part of the discriminator's loss on fakes"),
    CurveInfo("gradient_norm_g", "gradient", "", "length of the generator's gradient"),
    CurveInfo("gradient_norm_d", "gradient", "", "length of the discriminator's gradient"),
    CurveInfo("gradient_ratio", "gradient", "", "gradient_norm_d / gradient_norm_g"),
    CurveInfo("update_ratio_g", "gradient", "", "change of the generator's weights in a step, relative to the weights"),
    CurveInfo(
        "update_ratio_d", "gradient", "", "change of the discriminator's weights in a step, relative to the weights"
    ),
    CurveInfo("logit_real", "signal", "", f"{LOGITS} on reals"),
    CurveInfo("logit_fake", "signal", "", f"{LOGITS} on fakes"),
    CurveInfo("adversarial_share", "signal", "", "share of the adversarial term in the gradient at the samples"),
    CurveInfo("diversity", "signal", "", "mean distance of two fakes, divided by that of two reals; 1: as diverse"),
    CurveInfo("coverage", "signal", "", "share of reals with a fake nearby"),
    CurveInfo("copying", "signal", "", "whether fakes are nearer to training reals than held-out reals are; 1: copies"),
    CurveInfo(
        "non_finite", "signal", "steps", "steps since the last reading with a loss or gradient that is not finite"
    ),
    CurveInfo("reward", "signal", "", "reward of the controller's decision before this reading"),
)
"""The signals, in the order of their charts."""
BY_NAME: Mapping[str, CurveInfo] = {info.name: info for info in SIGNALS}
ORDER: Mapping[str, int] = {info.name: order for order, info in enumerate(SIGNALS)}


def list_curves(run: LiveRun, knobs: Mapping[str, tuple[str, str]]) -> list[CurveInfo]:
    """Return all curves of a run. `knobs`: unit and help of its knobs by name."""
    names = [name for name in run.columns.names() if name not in knobs]
    signals = sorted((name for name in names if "." not in name), key=lambda name: ORDER.get(name, len(ORDER)))
    losses = [name for name in names if "." in name]
    better = {str(line.get("metric")): str(line.get("better", "lower")) for line in run.log.events("evaluated")}
    return [
        *(CurveInfo(name, "loss", "", _describe_loss(name)) for name in losses),
        *(BY_NAME.get(name, CurveInfo(name, "signal", "", "")) for name in signals),
        *(CurveInfo(name, "metric", "", f"{word} is better") for name, word in better.items()),
        *(CurveInfo(name, "knob", unit, help) for name, (unit, help) in knobs.items()),
    ]


def read_curves(run: LiveRun, names: Iterable[str]) -> dict[str, CurvePoints]:
    """Return the points of the curves that exist. Raises RunError if the log cannot be read."""
    names = list(names)
    initial = initial_knobs(run)
    lines = run.log.events("evaluated")
    metrics = {str(line.get("metric")) for line in lines}
    turned = {turn.knob for turn in run.log.turns}
    result = {name: _knob_points(run, name, initial) for name in names if name in turned or name in initial}
    result |= {name: _metric_points(lines, name) for name in names if name in metrics and name not in result}
    known = {*run.columns.names()}
    columns = [name for name in names if name in known and name not in result]
    try:
        with run.log.lock:
            steps = np.array(run.log.readings.steps, dtype=np.float64)
            for name, column in run.columns.read(columns).items():
                low, high = (np.array(part) if len(part) else None for part in (column.low, column.high))
                result[name] = CurvePoints(steps, np.array(column.values), low, high)
    except OSError as error:
        raise RunError(f"{run.log.path} cannot be read: {error.strerror or error}") from error
    return {name: result[name] for name in names if name in result}


def make_axis(run: LiveRun, kind: str, low: float | None, high: float | None) -> Axis:
    """Return the axis of steps, images or seconds, which begins at 0. `low`, `high`: first and last step shown."""
    with run.log.lock:
        readings = run.log.readings
        steps = np.array(readings.steps, dtype=np.float64)
        values = {"images": readings.images, "seconds": readings.seconds}.get(kind, readings.steps)
        x = np.array(values, dtype=np.float64)
        last = run.log.step
    steps, x = np.concatenate([[0.0], steps]), np.concatenate([[0.0], x])
    if kind == "step" and last > steps[-1]:
        steps, x = np.append(steps, last), np.append(x, last)
    return Axis(steps, np.maximum.accumulate(np.nan_to_num(x)), low, high)


def initial_knobs(run: LiveRun) -> dict[str, float]:
    """Return the values of the knobs at the start of a run; empty if it has not started."""
    started = next(iter(run.log.events("started")), {})
    knobs = started.get("knobs")
    items = knobs.items() if isinstance(knobs, Mapping) else ()
    return {str(name): float(value) for name, value in items if isinstance(value, int | float)}


def _knob_points(run: LiveRun, name: str, initial: Mapping[str, float]) -> CurvePoints:
    turns = [turn for turn in run.log.turns if turn.knob == name]
    first = initial.get(name, turns[0].before if turns else float("nan"))
    steps = [0.0, *(float(turn.step) for turn in turns)]
    return CurvePoints(np.array(steps), np.array([first, *(turn.after for turn in turns)]), is_held=True)


def _metric_points(lines: Iterable[EventLine], name: str) -> CurvePoints:
    pairs = [(line["step"], line.get("value")) for line in lines if line.get("metric") == name]
    values = [float(value) if isinstance(value, int | float) else float("nan") for _, value in pairs]
    return CurvePoints(np.array([float(step) for step, _ in pairs]), np.array(values))


def _describe_loss(name: str) -> str:
    phase, _, term = name.partition(".")
    return f"total of the phase '{phase}'" if term == "total" else f"term '{term}' of the phase '{phase}'"
