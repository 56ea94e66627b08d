"""What others call the numbers that are known here. A name is compared without case, spaces and signs."""

import re
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from equipoise.diagnosis.trace import Metric, Trace, series
from equipoise.errors import DataError, nearest

SIGNALS: Mapping[str, tuple[str, ...]] = {
    "loss_d": (
        *("lossd", "dloss", "lossdloss", "dlosstotal", "lossdtotal", "derr", "errd", "disloss", "lossdis", "dlosses"),
        *(
            "discriminatorloss",
            "lossdiscriminator",
            "discloss",
            "lossdisc",
            "criticloss",
            "losscritic",
            "discriminator",
        ),
        *("dtotalloss", "discriminatortotal", "discriminatoradversarial", "ltotald"),
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
"""Signal -> what it is called elsewhere."""
METRICS: Mapping[str, Literal["lower", "higher"]] = {
    "fid": "lower",
    "kid": "lower",
    "fd": "lower",
    "kd": "lower",
    "swd": "lower",
    "lpips": "higher",
    "is": "higher",
    "inceptionscore": "higher",
    "precision": "higher",
    "recall": "higher",
    "density": "higher",
}
"""How the name of a metric begins -> which way is up; what follows may be a count of samples or a variant."""
STEPS: Mapping[str, Literal["step", "image", "epoch", "row"]] = {
    **dict.fromkeys(("step", "steps", "globalstep", "iter", "iters", "iteration", "iterations", "it", "i"), "step"),
    **dict.fromkeys(("update", "updates", "batch", "batches", "trainerglobalstep", "gstep"), "step"),
    **dict.fromkeys(("images", "nimg", "kimg", "progresskimg", "kimgs"), "image"),
    **dict.fromkeys(("epoch", "epochs"), "epoch"),
}
"""What counts the rows; a step is preferred to images, images to epochs."""
_SIGNAL_OF = {name: signal for signal, names in SIGNALS.items() for name in names}
_METRIC = re.compile(
    rf"({'|'.join(sorted(METRICS, key=len, reverse=True))})(\d+k?|full|score|mean|train|test|val|train\d*|_|digits)*"
)
_PREFIXES = ("train", "training", "metrics", "metric", "val", "eval", "losses", "scalars")


def plain(name: str) -> str:
    """A name as it is compared: "Loss/D " -> "lossd"."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def signal_of(name: str) -> str | None:
    """The signal that a column is, or None."""
    return next((_SIGNAL_OF[each] for each in _variants(name) if each in _SIGNAL_OF), None)


def metric_of(name: str) -> tuple[str, Literal["lower", "higher"]] | None:
    """The metric that a column is, under its own name, and which way is up; None if it is none."""
    for each in _variants(name):
        if result := _METRIC.fullmatch(each):
            return name.strip().rpartition("/")[2].lower(), METRICS[result[1]]
    return None


def _variants(name: str) -> Iterable[str]:
    """A name, and without a first part that says nothing: "train/d_loss"."""
    yield plain(name)
    first, _, rest = name.partition("/") if "/" in name else name.partition("_")
    if rest and plain(first) in _PREFIXES:
        yield plain(rest)


def trace(form: str, columns: Mapping[str, tuple[Any, Any]], **more: Any) -> Trace:
    """A trace of columns (steps, values) under their own names; the first that means a signal is taken for it.

    Raises DataError if none of them means anything here.
    """
    signals, metrics, ignored = {}, {}, []
    for name, (steps, values) in columns.items():
        if (signal := signal_of(name)) and signal not in signals:
            signals[signal] = series(steps, values)
        elif result := metric_of(name):
            metrics[result[0]] = Metric(series(steps, values), result[1])
        else:
            ignored.append(name)
    if not signals and not metrics:
        known = "loss_d, loss_g, D(x), D(G(z)) and fid are"
        raise DataError(f"none of its columns is known: {', '.join(ignored[:8]) or 'there are none'}; {known}")
    return Trace(form, signals, metrics, ignored=tuple(ignored), **more)


def offer(name: str) -> str:
    """The end of a sentence that offers the nearest known column."""
    return nearest(plain(name), _SIGNAL_OF)
