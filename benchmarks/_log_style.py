"""What users of the same program choose differently, and the rows of a synthetic run as all forms print them."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from _log_curves import Curves

Files = Mapping[str, str]
"""Text of each file of a log by its name."""
NAMES = (
    ("loss_d", "loss_g"),
    ("d_loss", "g_loss"),
    ("D_loss", "G_loss"),
    ("lossD", "lossG"),
    ("disc_loss", "gen_loss"),
    ("Loss/D", "Loss/G"),
    ("loss_discriminator", "loss_generator"),
    ("errD", "errG"),
)
"""Names of both losses in tables and records."""
METRIC = {"fid": ("fid", "FID", "val_fid", "fid_score"), "is": ("inception_score", "IS", "is_mean", "IS_mean")}


class Style(NamedTuple):
    """Choices that differ between users of the same program."""

    names: tuple[str, str]
    decimals: int
    per_epoch: int
    epochs: int
    metric: Mapping[str, str]

    def number(self, value: float) -> str:
        is_plain = not np.isfinite(value) or 10.0**-self.decimals * 5 <= abs(value) < 1e6 or value == 0
        return f"{value:.{self.decimals}f}" if is_plain else f"{value:.{self.decimals}e}"

    def fixed(self, value: float) -> str:
        """Format as "%.4f" does it: small values become 0.0000."""
        return f"{value:.{self.decimals}f}" if not np.isfinite(value) or abs(value) < 1e9 else f"{value:.4e}"


def choose_style(rng: np.random.Generator, curves: Curves) -> Style:
    differences = np.diff(curves.step)
    every = int(differences[differences > 0].min()) if len(differences) else 1
    rows_per_epoch = max(1, min(len(curves.step) // 5, int(rng.integers(5, 60))))
    per_epoch = every * rows_per_epoch
    epochs = int(curves.step.max()) // per_epoch + 1
    metric = {name: str(rng.choice(names)) for name, names in METRIC.items()}
    return Style(NAMES[int(rng.integers(len(NAMES)))], int(rng.integers(4, 7)), per_epoch, epochs, metric)


def rows(curves: Curves) -> Iterator[tuple[int, dict[str, float], dict[str, float]]]:
    """Yield step, signals and others, and metrics of each row."""
    columns = {**curves.signals, **curves.others}
    for row, step in enumerate(curves.step):
        values = {name: float(column[row]) for name, column in columns.items()}
        metrics = {name: float(metric.values[row]) for name, metric in curves.metrics.items() if metric.at[row]}
        yield int(step), values, metrics
