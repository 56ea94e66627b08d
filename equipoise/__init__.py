"""Equipoise: adversarial networks that keep their balance.

>>> import equipoise
>>> equipoise.load("runs/digits-dcgan-1").sample(8).shape        # doctest: +SKIP
torch.Size([8, 1, 32, 32])
"""

import importlib
from typing import Any

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
