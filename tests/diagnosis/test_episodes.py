"""Episodes of a run, its verdict, and the evidence of health."""

import pytest

from equipoise.core.observations import Finding, MetricReading, SignalReading, Signals
from equipoise.diagnosis.diagnose import RunDiagnosis, diagnose_run
from equipoise.diagnosis.episodes import EpisodeRecorder, SymptomEpisode
from equipoise.diagnosis.history import SignalHistory, append_reading


def run_of(values, every: int = 1, length: int = 100, losses=lambda step: {}) -> RunDiagnosis:
    """Diagnose a run of `length` readings in which `values(step)` is the FID of every `every`-th, None for none."""
    readings = []
    last: tuple[int, float] | None = None
    for step in range(1, length + 1):
        value = values(step) if step % every == 0 else None
        last = (step, value) if value is not None else last
        metrics = {} if last is None else {"fid": MetricReading(last[1], step - last[0])}
        readings.append(SignalReading(step, step / length, Signals(metrics=metrics, **losses(step))))
    return diagnose_run(readings)


def episodes_of(result: RunDiagnosis, symptom: str) -> list[SymptomEpisode]:
    return [episode for episode in result.episodes if episode.finding.symptom == symptom]


def healthy(step: int) -> float:
    return 10 + 100 / step + 0.05 * (step % 3)


def test_improving_metric_is_evidence_of_health() -> None:
    result = run_of(healthy)
    assert (result.verdict, result.missing, result.episodes) == ("healthy", "", ())
    assert result.best["fid"].value == pytest.approx(min(map(healthy, range(1, 101))))
    assert result.best["fid"].step == 99


def test_a_metric_that_improves_fast_at_the_end_is_near_its_best() -> None:
    result = run_of(lambda step: 400 * 0.6 ** (step / 10), every=10)
    assert (result.verdict, result.missing) == ("healthy", "")


@pytest.mark.parametrize(
    ("values", "every", "reason"),
    [
        (lambda step: None, 1, "no measure of quality"),
        (lambda step: 40.0 if step == 50 else None, 1, "fid was measured only once"),
        (healthy, 30, "fid was measured only 3 times"),
        (lambda step: 8 + 0.5 * (step % 3), 1, "fid has not improved"),
        (lambda step: float("nan"), 1, "the values of fid are impossible"),
        (lambda step: -healthy(step), 1, "the values of fid are impossible"),
        (lambda step: healthy(step) * (1.35 if step > 90 else 1.0), 1, "fid is no longer near its best value"),
    ],
)
def test_without_evidence_the_verdict_is_unknown_and_says_what_is_missing(values, every: int, reason: str) -> None:
    result = run_of(values, every, losses=lambda step: {"loss_d": 1.0 + 0.1 * (step % 7), "loss_g": 1.0})
    assert result.verdict == "unknown"
    assert reason in result.missing
    assert "; " in result.missing, "what to do about it"


def test_losses_without_a_lower_bound_cannot_tell() -> None:
    result = run_of(lambda step: None, losses=lambda step: {"loss_d": -1.0 + 0.1 * (step % 7), "loss_g": 2.0})
    assert "losses without a lower bound cannot tell" in result.missing


def test_sample_statistics_are_evidence_of_health() -> None:
    result = run_of(lambda step: None, losses=lambda step: {"diversity": 0.9, "coverage": 0.7})
    assert result.verdict == "healthy"
    result = run_of(lambda step: None, losses=lambda step: {"diversity": 0.9})
    assert (result.verdict, "not shown" in result.missing) == ("unknown", True)


def test_lasting_collapse_is_dated_by_its_onset_not_by_the_alarm() -> None:
    result = run_of(lambda step: healthy(step) * (1 if step <= 70 else 2.5))
    (episode,) = episodes_of(result, "collapse")
    assert (episode.finding.since, episode.until, episode.count, episode.recovered) == (71, None, 1, False)
    assert episode.detected is not None
    assert 71 < episode.detected <= 76
    assert result.verdict == "unhealthy"
    assert result.best["fid"].step <= 70


def test_dip_that_recovered_counts_less_and_the_lasting_collapse_has_its_own_onset() -> None:
    def values(step: int) -> float:
        return healthy(step) * (2.0 if 30 < step <= 42 or step > 80 else 1.0)

    result = run_of(values)
    dip, lasting = episodes_of(result, "collapse")
    assert (dip.finding.since, dip.recovered, dip.count) == (31, True, 1)
    assert dip.finding.severity < 0.5 <= lasting.finding.severity
    assert dip.until is not None
    assert 40 <= dip.until <= 44
    assert (lasting.finding.since, lasting.until, lasting.recovered) == (81, None, False)
    assert run_of(lambda step: values(min(step, 80))).verdict == "healthy"


def test_many_dips_are_one_entry() -> None:
    result = run_of(lambda step: healthy(step) * (2.0 if step > 20 and step % 20 < 8 else 1.0), length=119)
    (dips,) = episodes_of(result, "collapse")
    assert dips.recovered
    assert dips.count == 5
    assert dips.finding.severity <= 0.4


def finding(severity: float, since: int = 1, symptom: str = "oscillation") -> Finding:
    return Finding(symptom, severity, {}, since)


def record(severities: list[float]) -> tuple[SymptomEpisode, ...]:
    """Return the episodes of a run with one reading per severity; 0 for no finding."""
    recorder, history, since = EpisodeRecorder(), SignalHistory(), 1
    for step, severity in enumerate(severities, start=1):
        history = append_reading(history, step, step / len(severities), Signals())
        since = since if severity and step > 1 and severities[step - 2] else step
        recorder.add([finding(severity, since)] if severity else [], history)
    return recorder.episodes()


def test_short_interruptions_are_joined_and_long_ones_are_not() -> None:
    (joined,) = record([0, 0.3, 0.6, 0, 0, 0.4, 0.4])
    assert (joined.finding.since, joined.until, joined.count) == (2, None, 1)
    assert joined.finding.severity == 0.6
    (ended, lasting) = record([0.6, 0.6, 0, 0, 0, 0.4, 0.4])
    assert (ended.until, ended.recovered, ended.finding.severity) == (2, True, 0.4)
    assert (lasting.finding.since, lasting.until) == (6, None)


def test_established_symptom_that_is_missing_at_the_last_reading_is_still_present() -> None:
    (episode,) = record([0.6] * 20 + [0])
    assert episode.until is None
    (episode,) = record([0.6] * 20 + [0, 0, 0])
    assert (episode.until, episode.recovered) == (20, True)
    (episode,) = record([0, 0.6, 0])
    assert (episode.until, episode.recovered) == (2, True)


def test_rollback_ends_all_episodes() -> None:
    recorder = EpisodeRecorder()
    history = append_reading(SignalHistory(), 10, 0.1, Signals())
    recorder.add([finding(0.7)], history)
    recorder.restart()
    recorder.add([], append_reading(history, 11, 0.2, Signals()))
    (episode,) = recorder.episodes()
    assert (episode.until, episode.recovered) == (10, True)


def test_problem_that_has_become_a_hint_no_longer_decides_the_verdict() -> None:
    recorder, history = EpisodeRecorder(), SignalHistory()
    for step in range(1, 21):
        history = append_reading(history, step, step / 20, Signals(loss_d=1.0))
        recorder.add([Finding("oscillation", 0.7 if step < 15 else 0.3, {}, 1, 0.8)], history)
    (episode,) = recorder.episodes()
    assert (episode.finding.severity, episode.until) == (0.3, None)
