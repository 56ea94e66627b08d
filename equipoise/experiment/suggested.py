"""The settings that a data set suggests, for the device of the run."""

from typing import TYPE_CHECKING

from equipoise.experiment.settings import Experiment
from equipoise.experiment.starter import STARTER

if TYPE_CHECKING:
    import torch

    from equipoise.core.data import DataSet, Suggestion


def suggested_settings(experiment: Experiment, data: "DataSet") -> "Suggestion":
    """Return what a data set suggests: on a CPU its settings for one, unless the user chose a model.

    Batch size and controller were measured together with the model, and are not those for another one. Raises
    SettingError if the device of the experiment is not available.
    """
    from equipoise.experiment.assembly import select_device

    suggested = data.suggestion
    is_chosen = experiment.model is not None or experiment.start_from not in (None, STARTER)
    if suggested.on_cpu is None or is_chosen or select_device(experiment.device or "auto").type != "cpu":
        return suggested
    return suggested.on_cpu


def suggestion_reason(experiment: Experiment, data: "DataSet", device: "torch.device") -> tuple[str, ...]:
    """Return why a completed experiment has the settings that its data set suggests for a device; none for others."""
    suggested = data.suggestion
    if device.type == "cpu" and suggested.on_cpu is not None:
        suggested = suggested.on_cpu
    if suggested.reason is None or experiment.model is None or experiment.controller is None:
        return ()
    chosen = (experiment.model.name, experiment.controller.name, experiment.batch_size)
    return (suggested.reason,) if chosen == (suggested.model, suggested.controller, suggested.batch_size) else ()
