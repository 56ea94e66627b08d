"""Diagnosis of recorded runs with the present code: what is detected, and where repair would act first."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from equipoise.core.observations import SERIOUS
from equipoise.diagnosis.diagnose import diagnose
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.remedies import RepairContext, RepairSettings, RepairState, prescribe
from equipoise.pilot.step import PilotSettings
from equipoise.runs.observations import read_observations
from equipoise.runs.run import Run


@dataclass(frozen=True)
class Replay:
    """What the present code detects in the recorded signals of a run, up to the first remedy.

    `recorded`: the step of the first remedy of the recorded run, at which its signals end; None without a remedy.
    `remedy`: step, symptom, rung and overrides of the first remedy of the present code, None without one. `serious`:
    symptom -> step of the first serious finding; `hints`: the same of all other findings. `readings`: their number.
    """

    recorded: int | None
    remedy: Mapping[str, Any] | None
    readings: int
    serious: Mapping[str, int] = field(default_factory=dict)
    hints: Mapping[str, int] = field(default_factory=dict)
    verdict: str = "unknown"

    @property
    def is_open(self) -> bool:
        """Whether the recorded run was treated where the present code would not act, so that its end is unknown."""
        return self.recorded is not None and self.remedy is None


def replay(settings: PilotSettings, run: Run) -> Replay:
    """Diagnose the observations of a recorded run until a first remedy. `settings`: of the pilot of the run."""
    context = RepairContext(settings.steps, settings.published, settings.turnable, settings.base)
    recorded = next((line["step"] for line in run.lines("remedied")), None)
    reals = next((line.get("reals", {}) for line in run.lines("started")), {})
    history, count, verdict = SignalHistory(reals=reals), 0, "unknown"
    serious: dict[str, int] = {}
    hints: dict[str, int] = {}
    for observation in read_observations(run, settings.base):
        step = observation.step
        if recorded is not None and step > recorded:
            break
        health, history = diagnose(history, step, observation.progress, observation.signals)
        count, verdict = count + 1, health.verdict
        for finding in health.findings:
            (serious if finding.severity >= SERIOUS else hints).setdefault(finding.symptom, step)
        repair = settings.repair or RepairSettings()
        remedy, _ = prescribe(repair, context, RepairState(), health, observation.knobs, step)
        if remedy is not None:
            overrides = {override.knob: override.value for override in remedy.overrides}
            first = {"step": step, "symptom": remedy.finding.symptom, "rung": remedy.rung, "overrides": overrides}
            return Replay(recorded, first, count, serious, hints, verdict)
    return Replay(recorded, None, count, serious, hints, verdict)


def print_replays(replays: Iterable[tuple[str, int, Replay | None]]) -> None:
    """Print a line per recorded run (its name and its seed), and the number of those that would be treated."""
    treated, serious, still_open, count = 0, 0, 0, 0
    for name, seed, result in replays:
        if result is None:
            continue
        count, treated = count + 1, treated + (result.remedy is not None)
        serious, still_open = serious + bool(result.serious), still_open + result.is_open
        first = result.remedy and "{step} {symptom} {rung}".format(**result.remedy)
        state = f"recorded {result.recorded}" + ", OPEN" * result.is_open
        print(f"{name} {seed}: remedy {first} ({state}); serious {dict(result.serious)}; hints {dict(result.hints)}")
    print(f"{count} runs: {treated} treated, {serious} with a serious finding, {still_open} open")
