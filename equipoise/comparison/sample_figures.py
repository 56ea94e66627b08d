"""Figures of a comparison as PNG: the samples of all arms, a picture per setting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from equipoise.comparison.figures import NARROW, WIDE, make_panels
from equipoise.comparison.folder import ComparisonFolder
from equipoise.comparison.summary import Block, ComparisonSummary, blocks_by_setting
from equipoise.report.plot_style import BLUE, panel_title, render_png
from equipoise.runs.run import EXPERIMENT_FILE, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEIGHT = 2.3
"""Height in inches of the samples of one arm. Three fit in a row on a desktop, one on a phone."""


@dataclass(frozen=True, slots=True)
class SettingSamples:
    """PNG images of the samples of all arms in a setting, the best arm first, for a desktop and for a phone."""

    setting: str
    seed: int
    wide: bytes
    narrow: bytes

    @property
    def alt(self) -> str:
        """Text alternative of the image."""
        return f"Samples of every arm in {self.setting}"

    @property
    def caption(self) -> str:
        """Caption of the image."""
        return f"{self.setting}, seed {self.seed}, last step, uncurated."


def render_sample_grids(
    folder: ComparisonFolder, summary: ComparisonSummary, blocks: Sequence[Block]
) -> list[SettingSamples]:
    """Render the samples of each setting, except those that are neither images nor points in the plane."""
    result = []
    for name, group in blocks_by_setting(blocks).items():
        files = {arm: _samples_of(folder, run.name) for arm, run in group[0].items()}
        if any(files.values()):
            seed = next(iter(group[0].values())).seed
            wide, narrow = (render_png(partial(_samples_figure, summary, files, columns)) for columns in (WIDE, NARROW))
            result.append(SettingSamples(name, seed, wide, narrow))
    return result


def _samples_of(folder: ComparisonFolder, run: str) -> Path | None:
    """Return the file with the samples of a run: as its arm samples, or the last ones of its training."""
    own = [path for suffix in (".png", ".npy") if (path := folder.path / "samples" / f"{run}{suffix}").exists()]
    return _drawable(own[0]) if own else _last_samples(folder.path / "runs" / run)


def _drawable(path: Path) -> Path | None:
    """Return the file if it holds images or points in the plane."""
    is_other = path.suffix == ".npy" and np.load(path, mmap_mode="r", allow_pickle=False).shape[1:] != (2,)
    return None if is_other else path


def _last_samples(run: Path) -> Path | None:
    """Return the file with the last samples of a run, images or points in the plane."""
    lines = Run(run).lines("sampled") if (run / EXPERIMENT_FILE).exists() else []
    path = run / str(lines[-1]["samples"]) if lines else None
    return _drawable(path) if path is not None and path.exists() else None


def _samples_figure(summary: ComparisonSummary, files: Mapping[str, Path | None], columns: int) -> "Figure":
    figure, panels = make_panels(len(summary.arms), HEIGHT, left=0.17, bottom=0.1, columns=columns)
    for axes, arm in zip(panels, summary.arms, strict=True):
        _draw(axes, files[arm.name])
        panel_title(axes, arm.name, legends=False)
    return figure


def _draw(axes: "Axes", path: Path | None) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    if path is None:
        axes.text(0.5, 0.5, "no samples", ha="center", va="center")
    elif path.suffix == ".npy":
        points = np.load(path, allow_pickle=False)
        axes.scatter(points[:, 0], points[:, 1], s=1.5, color=BLUE, alpha=0.6, linewidths=0)
        axes.set_aspect("equal", adjustable="datalim")
    else:
        with Image.open(path) as grid:
            axes.imshow(np.asarray(grid.convert("RGB")), interpolation="nearest")
