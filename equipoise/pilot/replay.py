"""Recomputation of the decisions of a run from its observations.

The observations of a log reproduce every knob of the run exactly. Another controller makes
the decisions that it would have made on these observations; how the run would have developed remains unknown.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from equipoise.core.controller import AnyController
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.observations import Observation, Override
from equipoise.core.requests import RunRequest
from equipoise.pilot.step import PilotSettings, add_overrides, decide, initial_state, set_manual


def replay(
    controller: AnyController,
    observations: Iterable[Observation],
    base: Knobs,
    overrides: Mapping[int, Sequence[Override]] = MappingProxyType({}),
    manual: Mapping[int, Sequence[RunRequest]] = MappingProxyType({}),
) -> list[Knobs]:
    """Return the knobs after each observation, for a controller that starts from `base`.

    `overrides`: step -> the overrides of the remedy that was applied at that step. `manual`: step -> the requests of a
    person that were taken at that step, to turn or release a knob. Raises SettingError if the controller requires a
    knob that has no effect in the run.
    """
    observations = list(observations)
    turnable = observations[0].turnable if observations else None
    acting = frozenset(base.ranges()) if turnable is None else turnable
    check_turnable(sorted(controller.required_knobs()), acting, "this model")
    settings = PilotSettings(controller, steps=1, base=base, turnable=acting, published=base)
    state, _ = initial_state(settings, base)
    result = []
    for observation in observations:
        state, *_ = decide(settings, state, replace(observation, knobs=state.target))
        state, _ = add_overrides(state, overrides.get(observation.step, ()), observation.step, "")
        for request in manual.get(observation.step, ()):
            state, _ = set_manual(settings, state, request.knob, request.value, observation.step, "")
        result.append(state.knobs)
    return result
