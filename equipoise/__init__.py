"""Equipoise: adversarial networks that keep their balance.

>>> import equipoise
>>> equipoise.load("runs/digits-dcgan-1").sample(8).shape        # doctest: +SKIP
torch.Size([8, 1, 32, 32])
"""

import importlib
from typing import Any

_HOMES = {
    "AdversarialKnobs": "knobs",
    "AnnealedScheduler": "brief",
    "Batch": "base",
    "DataSpec": "base",
    "EquipoiseError": "errors",
    "Experiment": "experiment",
    "GAN": "brief",
    "Gan": "base",
    "Generator": "generator",
    "Knobs": "knobs",
    "LearnableScheduler": "brief",
    "Loss": "base",
    "Moment": "base",
    "Observation": "observations",
    "PPOHyperparameterOptimizer": "brief",
    "Phase": "base",
    "Pilot": "pilot",
    "PilotCallback": "lightning",
    "Rollback": "snapshots",
    "Rules": "pilot",
    "Run": "runs",
    "Settings": "base",
    "Signals": "observations",
    "StepRecord": "base",
    "knob": "knobs",
    "load": "generator",
    "resume": "launch",
    "start": "launch",
}
"""Where each public name lives. They are imported when they are asked for: torch alone takes seconds."""

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'equipoise' has no attribute '{name}'")
    return getattr(importlib.import_module(f"equipoise.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
