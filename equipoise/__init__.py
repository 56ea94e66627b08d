"""Equipoise: adversarial networks that keep their balance.

>>> import equipoise
>>> equipoise.load("runs/digits-dcgan-1").sample(8).shape        # doctest: +SKIP
torch.Size([8, 1, 32, 32])
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers: the same names as below
    from equipoise.brief import GAN as GAN
    from equipoise.brief import AnnealedScheduler as AnnealedScheduler
    from equipoise.brief import LearnableScheduler as LearnableScheduler
    from equipoise.brief import PPOHyperparameterOptimizer as PPOHyperparameterOptimizer
    from equipoise.core.data import Batch as Batch
    from equipoise.core.data import DataSpec as DataSpec
    from equipoise.core.knobs import AdversarialKnobs as AdversarialKnobs
    from equipoise.core.knobs import Knobs as Knobs
    from equipoise.core.knobs import knob as knob
    from equipoise.core.model import Loss as Loss
    from equipoise.core.model import Model as Model
    from equipoise.core.model import Moment as Moment
    from equipoise.core.model import OptimizerSettings as OptimizerSettings
    from equipoise.core.model import Phase as Phase
    from equipoise.core.model import StepRecord as StepRecord
    from equipoise.core.observations import Observation as Observation
    from equipoise.core.observations import Signals as Signals
    from equipoise.errors import EquipoiseError as EquipoiseError
    from equipoise.experiment.launch import resume as resume
    from equipoise.experiment.launch import start as start
    from equipoise.experiment.settings import Experiment as Experiment
    from equipoise.inference.generator import Generator as Generator
    from equipoise.inference.generator import load as load
    from equipoise.pilot.lightning import PilotCallback as PilotCallback
    from equipoise.pilot.pilot import ModelInfo as ModelInfo
    from equipoise.pilot.pilot import Pilot as Pilot
    from equipoise.pilot.snapshots import Rollback as Rollback
    from equipoise.runs.run import Run as Run

_HOMES = {
    "AdversarialKnobs": "core.knobs",
    "AnnealedScheduler": "brief",
    "Batch": "core.data",
    "DataSpec": "core.data",
    "EquipoiseError": "errors",
    "Experiment": "experiment.settings",
    "GAN": "brief",
    "Model": "core.model",
    "Generator": "inference.generator",
    "Knobs": "core.knobs",
    "LearnableScheduler": "brief",
    "Loss": "core.model",
    "Moment": "core.model",
    "Observation": "core.observations",
    "PPOHyperparameterOptimizer": "brief",
    "Phase": "core.model",
    "Pilot": "pilot.pilot",
    "PilotCallback": "pilot.lightning",
    "Rollback": "pilot.snapshots",
    "ModelInfo": "pilot.pilot",
    "Run": "runs.run",
    "OptimizerSettings": "core.model",
    "Signals": "core.observations",
    "StepRecord": "core.model",
    "knob": "core.knobs",
    "load": "inference.generator",
    "resume": "experiment.launch",
    "start": "experiment.launch",
}
"""Where each public name lives. They are imported on first access: importing torch takes seconds."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'equipoise' has no attribute '{name}'")
    return getattr(importlib.import_module(f"equipoise.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
