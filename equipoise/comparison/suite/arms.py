"""Arms of the suite: from JSON values to a controlled run."""

from collections.abc import Mapping
from typing import Any

from equipoise.comparison.suite import episode
from equipoise.comparison.suite.tasks import SuiteTask
from equipoise.experiment.settings import PlugSpec


def parse_settings(values: Mapping[str, Any]) -> episode.ArmSettings:
    """Return the settings of a run from JSON values: controller, options, knobs, factors, repair."""
    return episode.ArmSettings(
        controller=PlugSpec(values.get("controller", "fixed"), values.get("options", {})),
        knobs=values.get("knobs", {}),
        factors=values.get("factors", {}),
        repair=values.get("repair", False),
    )


def play_arm(task: SuiteTask, values: Mapping[str, Any], seed: int) -> episode.EpisodeCurve:
    """Train one run of an arm."""
    return episode.play(task, parse_settings(values), seed)
