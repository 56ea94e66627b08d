"""Episodes: the periods of symptoms in a run, from the findings at its readings."""

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from equipoise.core.observations import SERIOUS, Finding
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.diagnosis.symptoms.data import DATA_OUT_OF_RANGE

INTERRUPTION = 2
"""Readings, or measurements for symptoms of a metric, without a finding that do not end a period: noise of two."""
ESTABLISHED = 5
"""Readings or measurements that a period must have lasted, to be considered present if its findings have been missing
at the last INTERRUPTION ones."""
RECOVERED_SEVERITY = 0.4
"""Upper limit of the severity of a period that has ended: a hint, below SERIOUS."""
IRREVOCABLE = ("divergence", DATA_OUT_OF_RANGE.id)
"""Symptoms whose severity does not decrease after they have ended: nan in the losses, and properties of the data."""
assert RECOVERED_SEVERITY < SERIOUS


@dataclass(frozen=True, slots=True)
class SymptomEpisode:
    """A period of one symptom in a run, or all its periods that ended.

    `finding`: the most severe finding of the period, with the onset of the period as `since`; of a period that is
    present the most severe one of the last three readings, if these are hints, and a hint at most if it has ended
    (`recovered`). `until`: the step of the last reading that detected it, None if it is present at the end of the
    log. `count`: number of periods. `detected`: the step of the first reading that detected it, at `since` or later.
    """

    finding: Finding
    until: int | None
    count: int = 1
    recovered: bool = False
    detected: int | None = None


@dataclass(slots=True)
class _Period:
    """A period of a symptom: its worst finding, first and last detection, and the same as numbers of readings."""

    worst: Finding
    latest: tuple[Finding, ...]
    since: int
    detected: int
    until: int
    first_tick: int
    last_tick: int


class EpisodeRecorder:
    """Collects the findings at the readings of one run in order, and combines them into episodes."""

    def __init__(self) -> None:
        self._open: dict[str, _Period] = {}
        self._ended: list[_Period] = []
        self._readings = 0
        self._measurements = 0
        self._values = 0
        self._step = 0

    def add(self, findings: Iterable[Finding], history: SignalHistory) -> None:
        """Add the findings at a reading; `history` is the one after it."""
        self._readings += 1
        values = sum(record.count for record in history.metrics.values())
        self._measurements += values != self._values  # several metrics of the same samples are one measurement
        self._values = values
        self._step = history.step
        for finding in findings:
            tick, period = self._tick(finding.symptom), self._open.get(finding.symptom)
            if period is not None and tick - period.last_tick > INTERRUPTION + 1:
                self._ended.append(period)
                period = None
            if period is None:
                period = _Period(finding, (), finding.since, self._step, self._step, tick, tick)
                self._open[finding.symptom] = period
            if finding.severity >= period.worst.severity:
                period.worst = finding
            period.latest = (*period.latest[-INTERRUPTION:], finding)
            period.until, period.last_tick = self._step, tick

    def restart(self) -> None:
        """End all periods: the weights were restored from a checkpoint, and a new history starts."""
        self._ended += self._open.values()
        self._open = {}

    def episodes(self) -> tuple[SymptomEpisode, ...]:
        """Return the episodes in order of time; what the data show comes first, as it may be the cause of the others.

        The periods of a symptom that have ended are one episode.
        """
        present = [period for period in self._open.values() if self._is_present(period)]
        ended: dict[str, list[_Period]] = {}
        for period in (*self._ended, *(period for period in self._open.values() if period not in present)):
            if any(_continues(other, period) for other in present):
                continue
            ended.setdefault(period.worst.symptom, []).append(period)
        result = [_lasting_episode(period) for period in present]
        result += [_ended_episode(periods) for periods in ended.values()]
        return tuple(sorted(result, key=_order))

    def _tick(self, symptom: str) -> int:
        """Return the number of readings so far, or of those with a measurement for the symptoms of metrics."""
        return self._measurements if SYMPTOMS[symptom].reads[:1] == ("metrics",) else self._readings

    def _is_present(self, period: _Period) -> bool:
        """Return whether a period is present at the last reading, or was missing only at the very last ones."""
        gap = self._tick(period.worst.symptom) - period.last_tick
        is_established = period.last_tick - period.first_tick >= ESTABLISHED and gap <= INTERRUPTION
        return period.until == self._step or is_established


def _continues(later: _Period, earlier: _Period) -> bool:
    """Return whether a period is the same problem under the name of a symptom that excludes the earlier one."""
    names = later.worst.symptom, earlier.worst.symptom
    is_exclusive = names[0] in SYMPTOMS[names[1]].excludes or names[1] in SYMPTOMS[names[0]].excludes
    return is_exclusive and later.since == earlier.since


def _lasting_episode(period: _Period) -> SymptomEpisode:
    latest = max(period.latest, key=lambda finding: finding.severity)
    is_milder = latest.severity < SERIOUS <= period.worst.severity and period.worst.symptom not in IRREVOCABLE
    finding = dataclasses.replace(latest if is_milder else period.worst, since=period.since)
    return SymptomEpisode(finding, None, detected=period.detected)


def _ended_episode(periods: Sequence[_Period]) -> SymptomEpisode:
    """Combine the periods of a symptom that have ended."""
    worst = max((period.worst for period in periods), key=lambda finding: finding.severity)
    is_recovered = worst.symptom not in IRREVOCABLE
    severity = min(worst.severity, RECOVERED_SEVERITY) if is_recovered else worst.severity
    finding = dataclasses.replace(worst, severity=severity, since=min(period.since for period in periods))
    until = max(period.until for period in periods)
    return SymptomEpisode(finding, until, len(periods), is_recovered, min(period.detected for period in periods))


def _order(episode: SymptomEpisode) -> tuple[bool, int, float]:
    return episode.finding.symptom != DATA_OUT_OF_RANGE.id, episode.finding.since, -episode.finding.severity
