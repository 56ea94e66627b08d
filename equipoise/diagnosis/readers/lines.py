"""Logs of lines for people: the PyTorch DCGAN example's, PyTorch-GAN's, PyTorch-StudioGAN's, StyleGAN's log.txt.

Each reader takes the whole text and gives a trace, or None if there is no line of its form. A regular expression runs
over the text once, for a log may have millions of lines.
"""

import math
import re
from collections.abc import Callable, Sequence

import numpy as np

from equipoise.diagnosis.trace import MOST_STEPS, Metric, Series, Trace, Values, series

NUMBER = r"([-+]?(?:\d[\d.]*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|nan|inf|infinity|NaN|Inf|Infinity))"
EXAMPLE = re.compile(
    r"\[(\d+)/(\d+)\]\[(\d+)/(\d+)\]\s*Loss_D:\s*(\S+)\s+Loss_G:\s*(\S+)"
    r"(?:\s+D\(x\):\s*(\S+))?(?:\s+D\(G\(z\)\):\s*(\S+))?"
)
"""[1/500][0/14] Loss_D: 0.0001 Loss_G: 45.8796 D(x): 0.9999 D(G(z)): 0.0000 / 0.0000 (examples/dcgan of PyTorch).
Numbers are whatever has no space in it: this form has the longest logs, and this takes half the time."""
EPOCHS = re.compile(
    rf"\[Epoch (\d+)/(\d+)\] \[Batch (\d+)/(\d+)\] \[D loss: {NUMBER}[^\]]*\] \[G loss: {NUMBER}", re.IGNORECASE
)
"""[Epoch 0/200] [Batch 0/938] [D loss: 0.693147] [G loss: 0.708] (eriklindernoren/PyTorch-GAN)."""
STUDIO = re.compile(
    r"Step: +(\d+) +Progress: +([\d.]+)%[^\n]*?"
    rf"(?:Discriminator_loss: {NUMBER} +Generator_loss: {NUMBER}|Gen_loss: {NUMBER} +Dis_loss: {NUMBER})"
)
STUDIO_METRIC = re.compile(rf"(FID|Inception) score \(Step: (\d+)[^)\n]*\): {NUMBER}")
TICK = re.compile(r"^tick \d+ +kimg ([\d.]+) ", re.MULTILINE)
SNAPSHOT = re.compile(rf"network-snapshot-(\d+)[^\n]*?\b((?:fid|kid|is)\w*) +{NUMBER}")
"""network-snapshot-000100 time 8m 02s fid50k 34.7 (StyleGAN 1 and 2 in TensorFlow)."""


def example(text: str) -> Trace | None:
    """Lines of the PyTorch DCGAN example."""
    return _by_epochs("PyTorch DCGAN example", EXAMPLE.findall(text))


def epochs(text: str) -> Trace | None:
    """Lines of PyTorch-GAN."""
    return _by_epochs("PyTorch-GAN", EPOCHS.findall(text))


def studio(text: str) -> Trace | None:
    """Lines of PyTorch-StudioGAN: losses, FID and Inception score."""
    lines, measured = STUDIO.findall(text), STUDIO_METRIC.findall(text)
    if not lines and not measured:
        return None
    signals, total = {}, None
    if lines:
        steps = _floats([line[0] for line in lines])
        signals["loss_d"] = series(steps, _floats([line[2] or line[5] for line in lines]))
        signals["loss_g"] = series(steps, _floats([line[3] or line[4] for line in lines]))
        shares = _floats([line[1] for line in lines]) / 100
        share = float(shares[np.isfinite(shares)].max(initial=0))
        total = round(float(steps.max()) / share) if share > 0 else None
    metrics = {}
    for word, name, better in (("FID", "fid", "lower"), ("Inception", "inception_score", "higher")):
        rows = [(int(step), _number(value)) for kind, step, value in measured if kind == word]
        if rows:
            metrics[name] = Metric(series(*zip(*rows, strict=True)), "lower" if better == "lower" else "higher")
    return Trace("PyTorch-StudioGAN", signals, metrics, total)


def ticks(text: str) -> Trace | None:
    """StyleGAN's log.txt: it has metrics only, as lines of JSON or as words; steps are thousands of images."""
    from equipoise.diagnosis.readers.stats import metrics_of

    metrics = metrics_of(text)
    for kimg, name, value in SNAPSHOT.findall(text):
        better = "higher" if name.startswith("is") else "lower"
        before = metrics[name].series if name in metrics else Series(np.zeros(0, np.int64), np.zeros(0))
        both = series([*before.steps, int(kimg) * 1000], [*before.values, _number(value)])
        metrics[name] = Metric(both, "higher" if better == "higher" else "lower")
    if not TICK.search(text) and not metrics:
        return None
    return Trace("StyleGAN log.txt", {}, metrics, unit="image")


FORMS: tuple[Callable[[str], Trace | None], ...] = (example, studio, epochs, ticks)


def _by_epochs(form: str, lines: Sequence[Sequence[str]]) -> Trace | None:
    """A trace of (epoch, epochs, batch, batches, loss_d, loss_g, D(x), D(G(z)), …) in words."""
    if not lines:
        return None
    columns = list(zip(*lines, strict=True))
    epoch, epochs, batch, batches = (_floats(column) for column in columns[:4])
    steps = epoch * batches + batch
    names = ("loss_d", "loss_g", "probability_real", "probability_fake")
    signals = {name: _given(steps, words) for name, words in zip(names, columns[4:], strict=False)}
    total = int(min(epochs[-1] * batches[-1], MOST_STEPS))
    return Trace(form, {name: column for name, column in signals.items() if len(column.steps)}, {}, total)


def _given(steps: Values, words: Sequence[str]) -> Series:
    """A column of which some rows may be empty."""
    if "" in words:
        rows = [row for row, word in enumerate(words) if word]
        return series(steps[rows], _floats([words[row] for row in rows]))
    return series(steps, _floats(words))


def _floats(words: Sequence[str]) -> Values:
    """Words as numbers; what is none, such as a number with rubbish in it, counts as not a number."""
    try:
        return np.fromiter(map(float, words), np.float64, len(words))
    except ValueError:
        return np.array([_number(word.strip(",;")) for word in words])


def _number(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        return math.nan
