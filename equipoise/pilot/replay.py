"""A run's decisions, made again from its log: why was a knob turned, and what would another controller have turned?

Logged observations alone reproduce every knob of a run exactly. For another controller they say what it would have
turned on what this run saw, not what would have come of it.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from equipoise.core.knobs import Knobs
from equipoise.core.observations import Controller, Finding, Health, MetricReading, Observation, Override, Signals
from equipoise.diagnosis.trace import Reading
from equipoise.pilot.pilot import ModelInfo, Pilot
from equipoise.runs.run_folder import Run


def observations(run: Run, knobs: Knobs) -> Iterator[Observation[Any]]:
    """What the controller of a run saw at each reading, in order. `knobs`: of the run's kind; their values are read."""
    changed: dict[str, float] = {}
    turnable: frozenset[str] | None = None
    for line in run.lines():
        match line["event"]:
            case "started":
                knobs = knobs.with_values(line["knobs"])
                turnable = frozenset(line["turnable"]) if line.get("turnable") else None
            case "sensed":
                knobs, changed = knobs.with_values(changed), {}
                seen = _signals(line["signals"]), _health(line["health"])
                yield Observation(line["step"], line["progress"], *seen, knobs, turnable)
            case "turned":
                changed[line["knob"]] = line["to"]


def readings(run: Run) -> Iterator[Reading]:
    """The signals of a run at each reading, in order: to be diagnosed once more."""
    for line in run.named("sensed"):
        yield Reading(line["step"], line["progress"], _signals(line["signals"]))


def closing(run: Run) -> Iterator[Reading]:
    """What was measured after the last reading of a run, as a reading of metrics alone: a live run ends before it."""
    last = next(iter(run.named("sensed")[-1:]), {"step": 0, "progress": 0.0})
    late = [line for line in run.named("evaluated") if line["step"] >= last["step"]]
    if late:
        metrics = {line["metric"]: MetricReading(float(line["value"]), 0, line["better"]) for line in late}
        yield Reading(late[-1]["step"], last["progress"], Signals(metrics=metrics))


def overrides(run: Run) -> dict[int, tuple[Override, ...]]:
    """Step -> what a remedy held from there on."""
    return {line["step"]: tuple(Override(**one) for one in line["overrides"]) for line in run.named("remedied")}


def replay(
    controller: Controller,
    seen: Sequence[Observation[Any]],
    base: Knobs,
    held: Mapping[int, Sequence[Override]] = MappingProxyType({}),
) -> list[Knobs]:
    """Where the knobs would have stood after each observation, had the controller started from `base`.

    `held`: step -> the overrides of the remedy that was given there.
    """
    turnable = seen[0].turnable if seen else None
    acting = frozenset(base.ranges()) if turnable is None else turnable
    pilot, turned = Pilot(controller, steps=1, knobs=base, rules=ModelInfo(acting)), []
    for observation in seen:
        pilot.decide(dataclasses.replace(observation, knobs=pilot.wish))
        pilot.hold(held.get(observation.step, ()), observation.step, "")
        turned.append(pilot.knobs)
    return turned


def _signals(values: Mapping[str, Any]) -> Signals:
    numbers = {name: float(value) for name, value in values.items() if name not in ("metrics", "non_finite")}
    metrics = {
        name: MetricReading(**{**reading, "value": float(reading["value"])})
        for name, reading in values.get("metrics", {}).items()
    }
    return Signals(**numbers, non_finite=values["non_finite"], metrics=metrics)


def _health(values: Mapping[str, Any]) -> Health:
    return Health(tuple(Finding(**finding) for finding in values["findings"]))
