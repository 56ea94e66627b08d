"""What the figure of a diagnosis shows: the curves of the readings, grouped, and the periods of the findings."""

from collections.abc import Sequence

import numpy as np

from equipoise.cli.commands._log_diagnosis import DiagnosedGame
from equipoise.core.observations import SignalReading
from equipoise.core.printing import format_count
from equipoise.diagnosis.rendering.summary import RUN_FORM, by_importance, describe_verdict
from equipoise.report.diagnosis_figure import CurvePanel, FindingSpan, GameCurves, Limits, MetricPanel
from equipoise.report.plot_style import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY
from equipoise.report.series import CurveSeries

UNIT = (-0.03, 1.03)
SIGNED = (-1.05, 1.05)
COLOURS = {
    **{"loss_d": ORANGE, "loss_g": BLUE, "adversarial_d": PURPLE, "adversarial_g": SKY},
    **{"loss_d_real": GREEN, "loss_d_fake": GREY, "D(x)": ORANGE, "D(G(z))": BLUE, "accuracy of D": PURPLE},
    **{"discriminator": ORANGE, "generator": BLUE, "of reals": ORANGE, "of fakes": BLUE},
    **{"vs fakes": ORANGE, "vs held-out": PURPLE},
}
PANELS: Sequence[tuple[str, str, dict[str, str], Limits | None, float | None]] = (
    (
        "Losses",
        "loss",
        {name: name for name in ("loss_d", "loss_g", "adversarial_d", "adversarial_g", "loss_d_real", "loss_d_fake")},
        None,
        None,
    ),
    (
        "Discriminator output",
        "share or probability",
        {"probability_real": "D(x)", "probability_fake": "D(G(z))", "accuracy_d": "accuracy of D"},
        UNIT,
        0.5,
    ),
    ("Logits", "mean logit", {"logit_real": "of reals", "logit_fake": "of fakes"}, None, 0.0),
    ("Signs of the logits", "mean sign", {"sign_real": "of reals", "sign_fake": "of fakes"}, SIGNED, 0.0),
    (
        "Discriminator rank of training reals",
        "rank",
        {"rank_train_fake": "vs fakes", "rank_train_held_out": "vs held-out"},
        SIGNED,
        0.0,
    ),
    (
        "Gradient norms",
        "norm (L2)",
        {"gradient_norm_d": "discriminator", "gradient_norm_g": "generator"},
        None,
        None,
    ),
    ("Samples", "share", {name: name for name in ("diversity", "coverage", "copying")}, None, None),
    ("Augmentation", "probability", {"augment_p": "augment p"}, UNIT, None),
)
"""Title, label of the value axis, signals with their names in the legend, limits, and baseline of each panel."""


def game_curves(game: DiagnosedGame) -> GameCurves:
    """Return what is drawn of one game: panels with values, metrics, findings, and steps that are not finite."""
    entry, readings = game
    result, reason = entry.diagnosis, describe_verdict(entry)
    last = float(max(result.step, readings[-1].step if readings else 0))
    first = float(readings[0].step) if readings else 0.0
    name = "standard input" if entry.log == "-" else entry.log.rstrip("/").rpartition("/")[2] or entry.log
    spans = [
        FindingSpan(
            episode.finding.symptom,
            float(episode.finding.since),
            last if episode.until is None else float(episode.until),
            episode.finding.severity,
            episode.recovered,
        )
        for episode in by_importance(result.episodes)
    ]
    return GameCurves(
        title=f"{name}{f', game {entry.game}' if entry.game else ''}: {result.verdict}",
        subtitle=" · ".join(part for part in (entry.form, format_count(result.readings, "reading"), reason) if part),
        unit=entry.unit,
        steps=(first, last),
        panels=[panel for panel in (_panel(readings, *row) for row in PANELS) if panel.curves],
        metrics=_metrics(game),
        spans=spans,
        non_finite=[float(reading.step) for reading in readings if reading.signals.non_finite],
    )


def _panel(
    readings: Sequence[SignalReading],
    title: str,
    label: str,
    signals: dict[str, str],
    limits: Limits | None,
    baseline: float | None,
) -> CurvePanel:
    """Return a panel with those of its signals that have a value."""
    curves = {}
    for signal, name in signals.items():
        values = [getattr(reading.signals, signal) for reading in readings]
        if any(value is not None for value in values):
            numbers = np.array([np.nan if value is None else value for value in values], np.float64)
            steps = np.array([reading.step for reading in readings], np.float64)
            has_value = np.array([value is not None for value in values])
            curves[name] = CurveSeries.of(steps[has_value].tolist(), numbers[has_value].tolist())
    return CurvePanel(title, label, curves, COLOURS, limits, baseline)


def _metrics(game: DiagnosedGame) -> list[MetricPanel]:
    """Return the measurements of each metric; a value that stays is one measurement."""
    entry, readings = game
    panels = []
    for name in dict.fromkeys(name for reading in readings for name in reading.signals.metrics):
        steps, values, better, measured = [], [], "lower", None
        for reading in readings:
            metric = reading.signals.metrics.get(name)
            if metric is None:
                continue
            moment = reading.step - metric.age if entry.form != RUN_FORM else metric.value
            if moment != measured:
                steps.append(float(reading.step))
                values.append(metric.value)
            measured, better = moment, metric.better
        best = entry.diagnosis.best.get(name)
        panels.append(MetricPanel(name, better, steps, values, (float(best.step), best.value) if best else None))
    return panels
