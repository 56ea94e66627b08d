"""Arms of the suite: from JSON values to a controlled run, of one training or of several that share its budget."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Protocol

from pydantic import TypeAdapter, ValidationError

from equipoise.comparison.suite import episode
from equipoise.comparison.suite.halving import Halving
from equipoise.comparison.suite.population import Population
from equipoise.comparison.suite.probes import Probes
from equipoise.comparison.suite.tasks import SuiteTask, Values
from equipoise.errors import SettingError, UnknownNameError
from equipoise.experiment.settings import PlugSpec

SETTINGS = ("controller", "options", "knobs", "factors", "repair")
"""Keys of every arm."""


class SharingMethod(Protocol):
    """A method that trains several copies within the budget of one run."""

    def play(self, task: SuiteTask, settings: episode.ArmSettings, seed: int) -> episode.EpisodeCurve:
        """Train all copies and return their curve."""
        ...


METHODS: Mapping[str, type[Population] | type[Halving] | type[Probes]] = {
    "population": Population,
    "halving": Halving,
    "probes": Probes,
}
"""Values of the key `method`; the other keys are the fields of the class."""


def parse_settings(values: Values) -> episode.ArmSettings:
    """Return the settings of a run from JSON values: controller, options, knobs, factors, repair."""
    return episode.ArmSettings(
        controller=PlugSpec(values.get("controller", "fixed"), values.get("options", {})),
        knobs=values.get("knobs", {}),
        factors=values.get("factors", {}),
        repair=values.get("repair", False),
    )


def parse_method(values: Mapping[str, object]) -> SharingMethod | None:
    """Return the method of an arm from its JSON values; None for the usual single run.

    Raises SettingError for an unknown key or method, or a value that is not valid.
    """
    own = {name: value for name, value in values.items() if name not in (*SETTINGS, "method")}
    if "method" not in values:
        _check_keys("an arm", own, (*SETTINGS, "method"), ())
        return None
    name = str(values["method"])
    if name not in METHODS:
        raise UnknownNameError("method", name, METHODS)
    method = METHODS[name]
    _check_keys(f"method '{name}'", own, [entry.name for entry in fields(method)], SETTINGS)
    try:
        result: SharingMethod = TypeAdapter(method).validate_python(own)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise SettingError(f"method '{name}': {place} is not valid: {first['msg']}") from error
    return result


def play_arm(task: SuiteTask, values: Values, seed: int) -> episode.EpisodeCurve:
    """Train one run of an arm."""
    method, settings = parse_method(values), parse_settings(values)
    return method.play(task, settings, seed) if method else episode.play(task, settings, seed)


def _check_keys(owner: str, own: Mapping[str, object], allowed: Sequence[str], usual: Sequence[str]) -> None:
    if unknown := sorted(own.keys() - set(allowed)):
        raise UnknownNameError("key", unknown[0], (*allowed, *usual), f"of {owner}")
