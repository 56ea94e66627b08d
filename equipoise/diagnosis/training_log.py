"""Common representation of training logs: signals and metrics by step, and the readings that a live run would have.

`TrainingLog.from_columns` recognises signals and metrics by the column names of other programs.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from equipoise.core.observations import Better, MetricReading, SignalReading, Signals
from equipoise.errors import DataError

MAX_READINGS = 2000
"""Maximum number of readings of a log: the first EAGER rows, then means over equal numbers of rows."""
EAGER = 100
MAX_STEP = 2**53
"""Upper limit of steps: above it float64 does not distinguish a step from the next."""
DESCENDING_SHARE = 0.9
"""Share of falling steps above which a log has its newest rows first; runs are not resumed that often."""

StepUnit = Literal["step", "image", "epoch", "row"]
Steps = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]

SIGNAL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "loss_d": (
        *("lossd", "dloss", "lossdloss", "dlosstotal", "lossdtotal", "derr", "errd", "disloss", "lossdis", "dlosses"),
        *("discriminatorloss", "lossdiscriminator", "discloss", "lossdisc", "criticloss", "losscritic"),
        *("discriminator", "dtotalloss", "discriminatortotal", "discriminatoradversarial", "ltotald"),
    ),
    "loss_g": (
        *("lossg", "gloss", "lossgloss", "glosstotal", "lossgtotal", "gerr", "errg", "genloss", "lossgen", "glosses"),
        *("generatorloss", "lossgenerator", "gtotalloss", "generator", "generatortotal", "generatoradversarial"),
    ),
    "probability_real": ("dx", "probabilityreal", "probreal", "drealprob"),
    "probability_fake": ("dgz", "dgz1", "probabilityfake", "probfake", "dfakeprob"),
    "sign_real": ("losssignsreal", "signsreal", "signreal", "rt", "dsignsreal"),
    "rank_train_fake": ("ranktrainfake",),
    "rank_train_held_out": ("ranktrainheldout",),
    "gradient_norm_g": ("gradientnormg", "gradnormg", "ggradnorm", "gnorm", "gradnormgenerator", "generatorgradnorm"),
    "gradient_norm_d": (
        *("gradientnormd", "gradnormd", "dgradnorm", "dnorm", "gradnormdiscriminator", "discriminatorgradnorm"),
    ),
    "diversity": ("diversity",),
    "coverage": ("coverage",),
    "copying": ("copying",),
}
"""Normalised column names of other programs, by signal."""
METRIC_COLUMNS: Mapping[str, Better] = {
    **dict.fromkeys(("fid", "kid", "fd", "kd", "swd"), "lower"),
    **dict.fromkeys(("lpips", "is", "inceptionscore", "precision", "recall", "density"), "higher"),
}
"""First part of the normalised name of a metric -> which direction is better. A count or a variant may follow."""
STEP_COLUMNS: Mapping[str, StepUnit] = {
    **dict.fromkeys(("step", "steps", "globalstep", "iter", "iters", "iteration", "iterations", "it", "i"), "step"),
    **dict.fromkeys(("update", "updates", "batch", "batches", "trainerglobalstep", "gstep"), "step"),
    **dict.fromkeys(("images", "nimg", "kimg", "progresskimg", "kimgs"), "image"),
    **dict.fromkeys(("epoch", "epochs"), "epoch"),
}
"""Normalised names of columns that count rows; steps are preferred to images, images to epochs."""
_SIGNAL_OF = {name: signal for signal, names in SIGNAL_COLUMNS.items() for name in names}
_METRIC = re.compile(
    rf"({'|'.join(sorted(METRIC_COLUMNS, key=len, reverse=True))})"
    r"(\d+k?|full|score|mean|train|test|val|train\d*|_|digits)*"
)
_PREFIXES = ("train", "training", "metrics", "metric", "val", "eval", "losses", "scalars")


def normalise_name(name: str) -> str:
    """Return a column name in lower case without anything but letters and digits: "Loss/D " becomes "lossd"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def match_signal(name: str) -> str | None:
    """Return the signal that a column contains, by its name; None if it is not a signal."""
    return next((_SIGNAL_OF[variant] for variant in _name_variants(name) if variant in _SIGNAL_OF), None)


def match_metric(name: str) -> tuple[str, Better] | None:
    """Return the name of the metric in a column and which direction is better; None if it is not a metric."""
    for variant in _name_variants(name):
        if match := _METRIC.fullmatch(variant):
            return name.strip().rpartition("/")[2].lower(), METRIC_COLUMNS[match[1]]
    return None


def _name_variants(name: str) -> Iterator[str]:
    """Yield the normalised name, and the name without an uninformative prefix, as in "train/d_loss"."""
    yield normalise_name(name)
    prefix, _, base = name.partition("/") if "/" in name else name.partition("_")
    if base and normalise_name(prefix) in _PREFIXES:
        yield normalise_name(base)


class StepSeries(NamedTuple):
    """One column of a log: `steps` (N,), increasing, and `values` (N,), which may contain nan and inf.

    `descending`: whether the log had the rows in descending order. `dropped`: number of its rows that later ones
    superseded.
    """

    steps: Steps
    values: Values
    descending: bool = False
    dropped: int = 0


class MetricSeries(NamedTuple):
    """A column with a metric, and which direction is better."""

    series: StepSeries
    better: Better


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """A training log: `signals` by the names of Signals, `metrics` by their own names.

    `log_format`: name of the format. `total`: planned length in `unit`s, None if unknown. `ignored`: names of
    columns that are neither signals nor metrics.
    """

    log_format: str
    signals: Mapping[str, StepSeries] = field(default_factory=dict)
    metrics: Mapping[str, MetricSeries] = field(default_factory=dict)
    total: int | None = None
    unit: StepUnit = "step"
    ignored: tuple[str, ...] = ()

    @classmethod
    def from_columns(
        cls, log_format: str, columns: Mapping[str, tuple[npt.ArrayLike, npt.ArrayLike]], unit: StepUnit = "step"
    ) -> "TrainingLog":
        """Build a log from columns (steps, values) by name; of several columns for a signal the first is used.

        Raises DataError if no column is a signal or a metric.
        """
        signals, metrics, ignored = {}, {}, []
        for name, (steps, values) in columns.items():
            if (signal := match_signal(name)) and signal not in signals:
                signals[signal] = build_series(steps, values)
            elif metric := match_metric(name):
                metrics[metric[0]] = MetricSeries(build_series(steps, values), metric[1])
            else:
                ignored.append(name)
        if not signals and not metrics:
            names = ", ".join(ignored[:8]) or "there are no columns"
            raise DataError(
                f"no column is a known signal or metric ({names}); use names such as loss_d, loss_g, D(x), D(G(z)), fid"
            )
        return cls(log_format, signals, metrics, unit=unit, ignored=tuple(ignored))

    @property
    def order_note(self) -> str:
        """What was done about the order of the rows; "" if nothing."""
        series = (*self.signals.values(), *(metric.series for metric in self.metrics.values()))
        if any(part.descending for part in series):
            return "the rows were in descending order; sorted"
        most = max(series, key=lambda part: part.dropped)
        if not most.dropped:
            return ""
        total = most.dropped + len(most.steps)
        return f"{most.dropped:,} of {total:,} rows are followed by the same or an earlier step: taken as superseded"

    @property
    def steps(self) -> Steps:
        """All steps that have a value, (N,), increasing."""
        steps = np.zeros(0, np.int64)
        for series in (*self.signals.values(), *(metric.series for metric in self.metrics.values())):
            if not np.array_equal(series.steps, steps):  # most columns have the same steps
                steps = np.union1d(steps, series.steps)
        return steps


def build_series(steps: npt.ArrayLike, values: npt.ArrayLike) -> StepSeries:
    """Build a series from steps (N,) and values (N,) in the order of the log.

    A step that is not larger than the previous one means that the run was resumed from there: earlier entries from that
    step on are dropped. Rows in descending order, newest first, are reversed. Raises DataError for steps beyond
    MAX_STEP.
    """
    try:
        exact_steps, exact_values = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    except OverflowError as error:
        raise DataError(f"a step or value is too large for a 64-bit float; steps must be below {MAX_STEP:,}") from error
    if not (np.abs(exact_steps) < MAX_STEP).all():
        raise DataError(f"a step is not a number below {MAX_STEP:,}; correct that line")
    whole_steps = exact_steps.astype(np.int64)
    changes = np.diff(whole_steps)
    descending = bool(len(changes) > 1 and (changes < 0).mean() > DESCENDING_SHARE)
    if descending:
        order = np.argsort(whole_steps[::-1], kind="stable")
        whole_steps, exact_values = whole_steps[::-1][order], exact_values[::-1][order]
    later = np.minimum.accumulate(whole_steps[::-1])[::-1]
    is_valid = np.append(whole_steps[:-1] < later[1:], True) if len(whole_steps) else np.zeros(0, bool)
    dropped = len(whole_steps) - int(is_valid.sum())
    return StepSeries(whole_steps[is_valid], exact_values[is_valid], descending, dropped)


def compute_readings(log: TrainingLog) -> Iterator[SignalReading]:
    """Yield the readings that a live run would have, in order.

    Progress is the share of the planned length, or of the last step if that is unknown or larger.
    """
    steps = log.steps
    if not len(steps):
        return
    starts = _first_rows(len(steps))
    ends = steps[np.append(starts[1:], len(steps)) - 1]
    columns = {name: _means(series, ends) for name, series in log.signals.items()}
    non_finite = sum(
        (_counts(series, ends, ~np.isfinite(series.values)) for series in log.signals.values()),
        start=np.zeros(len(ends), np.int64),
    )
    length = max(log.total or 0, int(steps[-1]), 1)
    metrics = {
        name: (metric, np.searchsorted(metric.series.steps, ends, "right")) for name, metric in log.metrics.items()
    }
    for row, end in enumerate(ends.tolist()):
        readings = {
            name: MetricReading(
                float(metric.series.values[last - 1]), int(end - metric.series.steps[last - 1]), metric.better
            )
            for name, (metric, lasts) in metrics.items()
            if (last := int(lasts[row]))
        }
        signals = {name: float(means[row]) for name, means in columns.items() if np.isfinite(means[row])}
        yield SignalReading(end, end / length, Signals(**signals, non_finite=int(non_finite[row]), metrics=readings))


def _first_rows(rows: int) -> Steps:
    """Return the first row of each reading."""
    if rows <= MAX_READINGS:
        return np.arange(rows)
    return np.concatenate(
        [np.arange(EAGER), np.linspace(EAGER, rows, MAX_READINGS - EAGER, endpoint=False).astype(np.int64)]
    )


def _means(series: StepSeries, ends: Steps) -> Values:
    """Return the mean of the finite values in each reading; nan if there are none."""
    finite = np.isfinite(series.values)
    totals = np.concatenate([[0.0], np.cumsum(np.where(finite, series.values, 0.0))])
    last = np.searchsorted(series.steps, ends, "right")
    count = _counts(series, ends, finite)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.diff(totals[last], prepend=0.0) / count


def _counts(series: StepSeries, ends: Steps, mask: npt.NDArray[np.bool_]) -> Steps:
    """Return the number of values with a true `mask` in each reading."""
    totals = np.concatenate([[0], np.cumsum(mask)])
    return np.diff(totals[np.searchsorted(series.steps, ends, "right")], prepend=0)


NUMBER = r"([-+]?(?:\d[\d.]*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf|infinity|NaN|Inf|Infinity))"
"""Regular expression of a number in a log for people, as one group."""


def parse_number(word: str) -> float:
    """Convert a word to a number; nan if it is not a number."""
    try:
        return float(word)
    except ValueError:
        return math.nan


def parse_numbers(words: Sequence[str]) -> Values:
    """Convert words to numbers (N,); a word that is not a number becomes nan."""
    try:
        return np.fromiter(map(float, words), np.float64, len(words))
    except ValueError:
        return np.array([parse_number(word.strip(",;")) for word in words])


def log_from_epoch_lines(log_format: str, lines: Sequence[Sequence[str]]) -> TrainingLog | None:
    """Build a log from lines of words (epoch, epochs, batch, batches, loss_d, loss_g, D(x), D(G(z))).

    The last two are optional. Returns None without lines.
    """
    if not lines:
        return None
    columns = list(zip(*lines, strict=True))
    epoch, epochs, batch, batches = (parse_numbers(column) for column in columns[:4])
    steps = epoch * batches + batch
    names = ("loss_d", "loss_g", "probability_real", "probability_fake")
    series = {name: _sparse_series(steps, words) for name, words in zip(names, columns[4:], strict=False)}
    total = int(min(epochs[-1] * batches[-1], MAX_STEP))
    return TrainingLog(log_format, {name: column for name, column in series.items() if len(column.steps)}, {}, total)


def _sparse_series(steps: Values, words: Sequence[str]) -> StepSeries:
    """Build a series from a column in which some rows may be empty."""
    if "" in words:
        rows = [row for row, word in enumerate(words) if word]
        return build_series(steps[rows], parse_numbers([words[row] for row in rows]))
    return build_series(steps, parse_numbers(words))
