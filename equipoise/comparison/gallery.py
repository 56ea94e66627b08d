"""The last samples of every arm in a setting, side by side: of the first seed that all have, so that none is picked."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from equipoise.comparison.folder import Folder
from equipoise.comparison.pictures import NARROW, WIDE, grid
from equipoise.comparison.summary import Block, Summaries, by_setting
from equipoise.report.axes import BLUE, title
from equipoise.report.figures import png
from equipoise.runs import run_folder as runs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TALL = 2.3
"""Inches: the height of the samples of one arm, of which three stand side by side on a desk and one on a phone."""


def galleries(folder: Folder, result: Summaries, blocks: Sequence[Block]) -> list[tuple[str, int, bytes, bytes]]:
    """Setting, seed, and pictures of the samples of each arm, the best arm first, for a desk and for a phone.

    None for what cannot be drawn.
    """
    made = []
    for name, inside in by_setting(blocks).items():
        files = {arm: _last(folder.path / "runs" / row.name) for arm, row in inside[0].items()}
        if any(files.values()):
            seed = next(iter(inside[0].values())).seed
            wide, narrow = (png(partial(_gallery, result, files, columns)) for columns in (WIDE, NARROW))
            made.append((name, seed, wide, narrow))
    return made


def _last(run: Path) -> Path | None:
    """The file with the last samples of a run, images or points in the plane."""
    taken = runs.Run(run).named("sampled") if (run / runs.EXPERIMENT).exists() else []
    path = run / str(taken[-1]["samples"]) if taken else None
    if path is None or not path.exists():
        return None
    if path.suffix == ".npy" and np.load(path, mmap_mode="r", allow_pickle=False).shape[1:] != (2,):
        return None
    return path


def _gallery(result: Summaries, files: dict[str, Path | None], columns: int) -> "Figure":
    figure, panels = grid(len(result.arms), TALL, left=0.17, foot=0.1, columns=columns)
    for axes, one in zip(panels, result.arms, strict=True):
        _draw(axes, files[one.arm])
        title(axes, one.arm, legends=False)
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
        with Image.open(path) as sheet:
            axes.imshow(np.asarray(sheet.convert("RGB")), interpolation="nearest")
