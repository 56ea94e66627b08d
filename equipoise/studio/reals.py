"""Pictures of the training data of a run, to compare samples with. Imports torch."""

import numpy as np
from PIL import Image

from equipoise.core.data import without_balance
from equipoise.errors import SettingError
from equipoise.evaluation.sources import open_data
from equipoise.experiment.files import parse_experiment
from equipoise.experiment.settings import require
from equipoise.report.sample_plots import MAX_POINTS
from equipoise.report.samples import Samples, value_limits
from equipoise.report.sequence_sheets import draw_sequences
from equipoise.runs.artifacts import encode_png, make_grid
from equipoise.runs.run import EXPERIMENT_FILE, Run
from equipoise.studio.sample_pictures import arrange, draw_points

MAX_REALS = 256


def draw_reals(run: Run, columns: int, limit: int) -> bytes:
    """Draw training samples of a run, the same at each call: images in a grid, sequences as plots, points; PNG bytes.

    Raises SettingError for data that have no pictures, DataError if they cannot be read.
    """
    experiment = parse_experiment(run.experiment(), str(run.folder / EXPERIMENT_FILE))
    data = without_balance(open_data(require(experiment.data, "data")).data)
    dimensions = len(data.spec.shape)
    limit = MAX_POINTS if dimensions == 1 else min(limit, MAX_REALS)
    available = data.count("train")
    batch = data.stream("train", limit if available is None else max(1, min(limit, available)), 0).batch(0)
    real = batch.real.float().numpy()
    if dimensions == 3:
        cells = [make_grid(image[None]) for image in real]
        return encode_png(arrange(cells, columns))
    if dimensions == 2 and batch.real.is_floating_point():
        return encode_png(draw_sequences(real, columns, limit))
    if data.spec.shape == (2,):
        return encode_png(_draw_all(real.astype(np.float64)))
    raise SettingError(f"the data of {run.folder} are neither images, sequences nor points, so no picture shows them")


def _draw_all(points: "np.ndarray[tuple[int, ...], np.dtype[np.float64]]") -> Image.Image:
    return draw_points(points, value_limits([Samples(0, 0, values=points)]))
