"""The periods in which a run had each finding, read incrementally from the readings of its log."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from equipoise.runs.live_log import LiveLog
from equipoise.runs.reading_columns import HEALTH

SYMPTOM = re.compile(rb'"symptom": "(\w+)", "severity": "?([-+.\w]+)')
HEALTHY = b', "health": {"findings": []'
MARGIN = 256
"""Bytes by which the place of the health may move from line to line before the whole line is searched."""


@dataclass(slots=True)
class FindingPeriod:
    """Consecutive readings with the same symptom, from step `since` to step `last`; `is_open`: the latest has it, too.

    `severity`: the highest, in [0, 1], at the reading of row `row`.
    """

    symptom: str
    since: int
    last: int
    severity: float
    row: int
    is_open: bool = True


class FindingPeriods:
    """The periods of one log, in order of their start."""

    def __init__(self, log: LiveLog) -> None:
        self._log = log
        self._version = log.version
        self._row = 0
        self._periods: list[FindingPeriod] = []
        self._open: dict[str, FindingPeriod] = {}

    def read(self) -> list[FindingPeriod]:
        """Return all periods up to the last reading. Raises OSError if the log cannot be read."""
        with self._log.lock:
            if self._version != self._log.version:
                self._version, self._row = self._log.version, 0
                self._periods, self._open = [], {}
            for lines in self._log.read_readings(self._row):
                hint = max(0, lines[0].find(HEALTH) - MARGIN)
                if all(line.find(HEALTHY, hint) >= 0 for line in lines):
                    self._row += len(lines)
                    self._close(())
                    continue
                for line in lines:
                    place = line.find(HEALTH, hint)
                    if place < 0:
                        place = line.find(HEALTH)
                    hint = max(0, place - MARGIN)
                    self._add(line, place)
                    self._row += 1
            return list(self._periods)

    def _add(self, line: bytes, place: int) -> None:
        if place < 0 or line.startswith(HEALTHY, place):
            if self._open:
                self._close(())
            return
        severities = {match[1].decode(): _severity(match[2]) for match in SYMPTOM.finditer(line, place)}
        self._close(severities)
        step = self._log.readings.steps[self._row]
        for symptom, severity in severities.items():
            period = self._open.get(symptom)
            if period is None:
                period = FindingPeriod(symptom, _since(line[place:], symptom, step), step, severity, self._row)
                self._open[symptom] = period
                self._periods.append(period)
            period.last = step
            if severity > period.severity:
                period.severity, period.row = severity, self._row

    def _close(self, present: Mapping[str, float] | tuple[()]) -> None:
        for symptom in [symptom for symptom in self._open if symptom not in present]:
            self._open.pop(symptom).is_open = False


def _since(tail: bytes, symptom: str, step: int) -> int:
    """Return the step since which the evidence shows a symptom: of its finding, which begins before it is detected."""
    try:
        findings = json.loads(b"{" + tail[2:])["health"]["findings"]
        since = next(finding["since"] for finding in findings if finding["symptom"] == symptom)
    except (ValueError, KeyError, TypeError, StopIteration):
        return step
    return min(step, since) if type(since) is int else step


def _severity(text: bytes) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0
