"""Symptoms of losses, accuracies and logits in logs: overpowering players, pinned and frozen losses, runaway signs."""

import dataclasses
import math
import random
from collections.abc import Callable

import pytest

from equipoise.core.observations import SERIOUS, Finding, SignalReading, Signals
from equipoise.diagnosis.criteria.loss_values import clip_probability, decimals, stretch_start
from equipoise.diagnosis.diagnose import RunDiagnosis, diagnose, diagnose_run
from equipoise.diagnosis.history import SignalHistory
from equipoise.diagnosis.symptoms import SYMPTOMS
from equipoise.diagnosis.symptoms.frozen_losses import detect_losses_at_chance

LN2 = math.log(2)
NEW = ("generator_overpowering", "saturated_loss", "discriminator_overpowering", "discriminator_overfitting")
LossCurve = Callable[[int, random.Random], Signals]


def run(curve: LossCurve, length: int = 200, seed: int = 0, step: int = 10) -> tuple[SignalHistory, list[Finding]]:
    """Return the history, and the findings at the last reading, of a log of `length` readings `step` steps apart."""
    rng, history, findings = random.Random(seed), SignalHistory(), ()
    for reading in range(1, length + 1):
        health, history = diagnose(history, step * reading, reading / length, curve(reading, rng))
        findings = health.findings
    return history, list(findings)


def by_symptom(curve: LossCurve, length: int = 200, seed: int = 0) -> dict[str, Finding]:
    return {finding.symptom: finding for finding in run(curve, length, seed)[1]}


def bce(p_real: float, p_fake: float, noise: float, scale: float = 1.0) -> LossCurve:
    """Return a log of binary cross-entropy with these outputs of the discriminator, with noise on the logits."""

    def curve(_: int, rng: random.Random) -> Signals:
        def logit(p: float) -> float:
            return math.log(p / (1 - p)) + rng.gauss(0, noise)

        real, fake = logit(p_real), logit(p_fake)
        loss_d = math.log1p(math.exp(-real)) + math.log1p(math.exp(fake))
        return Signals(loss_d=scale * loss_d, loss_g=math.log1p(math.exp(-fake)))

    return curve


def noisy(level_d: float, level_g: float, share: float = 0.1) -> LossCurve:
    return lambda _, rng: Signals(
        loss_d=level_d * (1 + rng.gauss(0, share)), loss_g=level_g + max(abs(level_g), 0.2) * rng.gauss(0, share)
    )


HEALTHY: dict[str, LossCurve] = {
    "balanced BCE": bce(0.6, 0.4, 0.5),
    "balanced BCE, mean": bce(0.6, 0.4, 0.5, scale=0.5),
    "strong discriminator": bce(0.9, 0.1, 0.5),
    "strong generator for a while": bce(0.7, 0.6, 0.5),
    "hinge": noisy(1.6, 0.4),
    "hinge at its equilibrium": noisy(2.0, 0.0),
    "least squares": noisy(0.42, 0.35),
    "CycleGAN": noisy(0.2, 0.4, 0.25),
    "StyleGAN": noisy(1.05, 0.95, 0.06),
    "smoothed labels": noisy(0.95, 1.1),
    "R1 in the loss": noisy(2.4, 0.8),
    "WGAN-GP": lambda reading, rng: Signals(loss_d=-8 - rng.gauss(0, 1), loss_g=reading / 20 + rng.gauss(0, 1)),
    "WGAN, decaying": lambda reading, rng: Signals(
        loss_d=-20 * math.exp(-reading / 30) * (1 + rng.gauss(0, 0.1)), loss_g=rng.gauss(0, 1)
    ),
    "Keras-GAN": lambda _, rng: Signals(
        loss_d=0.6 + rng.gauss(0, 0.05), loss_g=0.9 + rng.gauss(0, 0.1), accuracy_d=0.7 + rng.gauss(0, 0.06)
    ),
    "ADA": lambda reading, rng: Signals(
        loss_d=1.0 + rng.gauss(0, 0.05),
        loss_g=1.1 + rng.gauss(0, 0.1),
        sign_real=0.6 + rng.gauss(0, 0.05),
        sign_fake=-0.55 + rng.gauss(0, 0.05),
        augment_p=min(0.4, reading / 300),
    ),
    "ESRGAN": lambda _, rng: Signals(
        adversarial_g=5e-3 * (2.5 + rng.gauss(0, 0.3)),
        loss_g=1.0 + rng.gauss(0, 0.05),
        loss_d=0.5 + rng.gauss(0, 0.05),
        logit_real=-3 + rng.gauss(0, 0.3),
        logit_fake=-5 + rng.gauss(0, 0.3),
    ),
}


@pytest.mark.parametrize("name", HEALTHY)
@pytest.mark.parametrize("length", [12, 60, 400])
def test_healthy_losses_have_no_finding(name: str, length: int) -> None:
    for seed in range(3):
        history, findings = run(HEALTHY[name], length, seed)
        assert [finding for finding in findings if finding.severity >= SERIOUS] == []
        assert not {finding.symptom for finding in findings} & set(NEW), findings
        assert detect_losses_at_chance(history) is None


@pytest.mark.parametrize(
    ("curve", "least"),
    [
        (bce(0.9, 0.89, 0.2), 0.2),
        (bce(0.97, 0.97, 0.3), SERIOUS),
        (bce(0.97, 0.97, 0.3, scale=0.5), SERIOUS),
        (bce(0.999, 0.999, 0.3), 0.9),
        (lambda _, rng: Signals(loss_d=rng.uniform(60, 92), loss_g=0.0), 1.0),
        (lambda _, rng: Signals(loss_d=rng.uniform(4.5, 6), loss_g=rng.uniform(-4, -2)), SERIOUS),
        (lambda _, rng: Signals(accuracy_d=0.25 + rng.gauss(0, 0.03), loss_d=1.5, loss_g=0.5), SERIOUS),
        (lambda _, rng: Signals(probability_real=0.2, probability_fake=0.6 + rng.gauss(0, 0.05)), SERIOUS),
        (lambda reading, rng: Signals(loss_d=1.05, loss_g=rng.random() * (0.01 if reading > 30 else 0.5)), SERIOUS),
    ],
    ids=["mild", "medium", "mean", "strong", "DCGAN-tensorflow", "hinge", "accuracy", "D(G(z)) > D(x)", "squares"],
)
@pytest.mark.parametrize("length", [60, 300])
def test_overpowering_generator(curve: LossCurve, least: float, length: int) -> None:
    finding = by_symptom(curve, length)["generator_overpowering"]
    assert least <= finding.severity <= 1
    assert "discriminator_overpowering" not in by_symptom(curve, length)


def test_overpowering_generator_is_dated_by_its_onset_and_a_hint_at_first() -> None:
    def turn(reading: int, rng: random.Random) -> Signals:
        return (bce(0.99, 0.99, 0.2) if reading > 100 else bce(0.6, 0.4, 0.5))(reading, rng)

    finding = by_symptom(turn)["generator_overpowering"]
    assert 1000 <= finding.since <= 1020
    assert by_symptom(bce(0.97, 0.97, 0.1), 12)["generator_overpowering"].severity < SERIOUS
    assert by_symptom(lambda _, rng: Signals(loss_d=80 + rng.random(), loss_g=0.0), 12)["generator_overpowering"]


def test_ranks_of_a_discriminator_that_distinguishes_contradict_an_overpowering_generator() -> None:
    curve = lambda reading, rng: dataclasses.replace(bce(0.99, 0.99, 0.2)(reading, rng), rank_train_fake=0.4)  # noqa: E731
    assert "generator_overpowering" not in by_symptom(curve)


@pytest.mark.parametrize("clip", [16.1180953979, 15.942385, 100.0, 50.0, 27.6310, 8.0590, 13.8155])
def test_loss_at_a_clip_is_saturated(clip: float) -> None:
    finding = by_symptom(lambda reading, _: Signals(loss_d=1e-3 / reading, loss_g=clip))["saturated_loss"]
    assert finding.severity == 0.8
    assert finding.since == 0
    assert 0 < finding.evidence["clipped_probability"] < 1e-4


@pytest.mark.parametrize("start", [0.1, 0.5, 0.8])
def test_constant_loss_is_saturated_since_its_first_reading(start: float) -> None:
    def curve(reading: int, rng: random.Random) -> Signals:
        loss_g = 0.6342 if reading >= 200 * start else round(0.7 + rng.gauss(0, 0.1), 4)
        return Signals(loss_d=round(-1 + rng.gauss(0, 0.1), 4), loss_g=loss_g)

    finding = by_symptom(curve)["saturated_loss"]
    assert finding.severity == 0.6
    assert finding.since == 2000 * start


def test_loss_that_is_often_at_a_clip_is_saturated() -> None:
    curve = lambda _, rng: Signals(loss_d=0.01, loss_g=16.1181 if rng.random() < 0.7 else rng.uniform(13, 16))  # noqa: E731
    assert by_symptom(curve)["saturated_loss"].evidence["share_at_clip"] > 0.5


@pytest.mark.parametrize(
    "curve",
    [
        lambda reading, rng: Signals(loss_d=round(1 / (1 + reading // 40), 4), loss_g=round(rng.gauss(1, 0.1), 4)),
        lambda _, rng: Signals(loss_d=0.0, loss_g=round(rng.gauss(5, 0.1), 4)),
        lambda _, rng: Signals(loss_d=0.7, loss_g=round(rng.gauss(0.7, 0.03), 1)),
    ],
    ids=["once an epoch", "zero", "one decimal"],
)
def test_repeated_and_rounded_values_are_not_saturated(curve: LossCurve) -> None:
    assert "saturated_loss" not in by_symptom(curve)


@pytest.mark.parametrize(
    ("loss_d", "loss_g"), [(2 * LN2, LN2), (LN2, LN2), (2.0, 0.0), (0.5, 0.25), (0.25, 0.25), (1.0, 0.0)]
)
def test_losses_frozen_at_chance_from_the_start(loss_d: float, loss_g: float) -> None:
    curve = lambda _, rng: Signals(loss_d=loss_d * (1 + rng.gauss(0, 5e-3)), loss_g=loss_g + rng.gauss(0, 3e-3))  # noqa: E731
    detection = detect_losses_at_chance(run(curve)[0])
    assert detection is not None
    assert (detection.severity, detection.since) == (0.6, 0)
    short = detect_losses_at_chance(run(curve, 30)[0])
    assert short is not None

    def learned(reading: int, rng: random.Random) -> Signals:
        return noisy(0.6 * loss_d, 2 * loss_g + 0.3)(reading, rng) if reading < 40 else curve(reading, rng)

    assert detect_losses_at_chance(run(learned)[0]) is None, "an equilibrium after it had learned"


def test_discriminator_whose_accuracy_stays_perfect_has_won() -> None:
    def curve(reading: int, rng: random.Random) -> Signals:
        share = min(1.0, reading / 60)
        loss_d = 0.5 * (1 - share) + 0.002 + 1e-3 * rng.random()
        return Signals(loss_d=loss_d, loss_g=0.8 + 5 * share, accuracy_d=0.8 + 0.2 * share)

    finding = by_symptom(curve)["discriminator_overpowering"]
    assert finding.severity >= SERIOUS
    assert finding.evidence["accuracy_d"] == 1.0
    assert by_symptom(curve, 90)["discriminator_overpowering"].severity < SERIOUS, "for less than half of the run"


def test_perfect_accuracy_without_drifting_losses_is_a_hint() -> None:
    """DCGAN on CIFAR-10 is nearly always right while its FID improves."""
    curve = lambda _, rng: Signals(loss_d=0.05 + 0.01 * rng.random(), loss_g=4 + rng.random(), accuracy_d=0.995)  # noqa: E731
    assert by_symptom(curve)["discriminator_overpowering"].severity < SERIOUS


def test_gap_of_logits_that_grows_shows_a_win() -> None:
    def curve(reading: int, rng: random.Random) -> Signals:
        return Signals(
            loss_d=10 ** (-1 - reading / 40),
            adversarial_g=0.03 + reading / 2000,
            loss_g=1.0 + rng.gauss(0, 0.05),
            logit_real=-20 - reading / 20,
            logit_fake=-28 - reading / 10,
        )

    assert by_symptom(curve)["discriminator_overpowering"].severity >= SERIOUS
    critic = lambda reading, rng: dataclasses.replace(curve(reading, rng), loss_d=-5.0 - rng.random())  # noqa: E731
    assert "discriminator_overpowering" not in by_symptom(critic)


def test_reconstruction_terms_do_not_hide_the_adversarial_loss() -> None:
    """pix2pix: the total falls with the L1 distance while G_GAN rises."""

    def curve(reading: int, rng: random.Random) -> Signals:
        share = reading / 200
        adversarial = 1.5 + 5 * share + rng.gauss(0, 0.1)
        loss_g = adversarial + 40 - 20 * share
        return Signals(loss_d=0.8 * math.exp(-6 * share), loss_g=loss_g, adversarial_g=adversarial)

    finding = by_symptom(curve, 120)["discriminator_overpowering"]
    assert finding.evidence["loss_g_at_least"] < 3, "that of G_GAN"


def test_runaway_signs_are_overfitting() -> None:
    def curve(p: Callable[[float], float], highest: float) -> LossCurve:
        def signals(reading: int, rng: random.Random) -> Signals:
            share = reading / 200
            sign = 0.45 + (highest - 0.45) * share + rng.gauss(0, 0.01)
            return Signals(sign_real=sign, sign_fake=-sign, augment_p=p(share), loss_d=1.0, loss_g=1.0 + share)

        return signals

    without = by_symptom(curve(lambda _: 0.0, 0.97))["discriminator_overfitting"]
    assert without.severity > SERIOUS
    assert without.evidence["augment_p"] == 0.0
    assert by_symptom(curve(lambda share: share, 0.97))["discriminator_overfitting"].severity > SERIOUS
    assert by_symptom(curve(lambda _: 0.0, 0.76))["discriminator_overfitting"].severity < SERIOUS
    live = lambda reading, rng: dataclasses.replace(  # noqa: E731
        curve(lambda _: 0.0, 0.97)(reading, rng), sign_fake=None, augment_p=None
    )
    assert "discriminator_overfitting" not in by_symptom(live), "signs alone are high in healthy live runs"


def test_signs_that_return_to_their_target_are_a_hint() -> None:
    def signals(reading: int, rng: random.Random) -> Signals:
        share = reading / 200
        return Signals(sign_real=0.95 - 0.05 * share + rng.gauss(0, 2e-3), sign_fake=-0.8, augment_p=0.7 * share)

    assert by_symptom(signals)["discriminator_overfitting"].severity < SERIOUS


def test_decaying_critic_is_healthy_and_a_settled_one_dead() -> None:
    settled = lambda reading, rng: Signals(  # noqa: E731
        loss_d=(-20.0 if reading < 40 else -0.02) * (1 + rng.gauss(0, 0.1)), loss_g=rng.gauss(0, 1)
    )
    assert by_symptom(settled)["dead_discriminator"].severity >= SERIOUS
    decaying = lambda reading, rng: Signals(loss_d=-20 * 0.9**reading * (1 + rng.gauss(0, 0.1)), loss_g=rng.gauss(0, 1))  # noqa: E731
    assert "dead_discriminator" not in by_symptom(decaying)


@pytest.mark.parametrize(
    ("symptom", "curve"),
    [
        ("generator_overpowering", bce(0.99, 0.99, 0.2)),
        ("saturated_loss", lambda reading, _: Signals(loss_d=1e-3 / reading, loss_g=100.0)),
        ("never_learned", lambda _, rng: Signals(loss_d=LN2 + rng.gauss(0, 1e-3), loss_g=LN2 + rng.gauss(0, 1e-3))),
        (
            "discriminator_overpowering",
            lambda reading, _: Signals(loss_d=1 / reading, loss_g=1 + reading / 50, accuracy_d=min(1, reading / 50)),
        ),
        ("discriminator_overfitting", lambda _, rng: Signals(sign_real=rng.gauss(0.95, 0.01), sign_fake=-0.9)),
    ],
)
def test_findings_depend_only_on_the_signals_that_their_record_names(symptom: str, curve: LossCurve) -> None:
    record = SYMPTOMS[symptom]
    others = {*record.reads, "metrics", "non_finite", "ideal_d", "adversarial_d"}
    noise = {field.name for field in dataclasses.fields(Signals)} - others
    assert symptom in by_symptom(curve)

    def with_noise(reading: int, rng: random.Random) -> Signals:
        values = {name: random.Random(reading).random() for name in sorted(noise)}
        return dataclasses.replace(curve(reading, rng), **values)

    detections = [record.detect(run(signals)[0]) for signals in (curve, with_noise)]
    assert detections[0] == detections[1]


def test_clips_and_decimals() -> None:
    assert clip_probability(16.1181) == 1e-7
    assert clip_probability(50.0) == pytest.approx(math.exp(-100))
    assert clip_probability(5.0) is None
    assert decimals([0.6, 1.38]) == 2
    assert decimals([3.0, 5.0]) == 0
    assert decimals([math.pi]) == 8


def test_stretch_allows_single_exceptions() -> None:
    history, _ = run(lambda reading, _: Signals(loss_d=2.0 if reading > 50 and reading != 90 else 1.0), 100)
    points = (*history.spans, *history.filling)
    assert stretch_start(points, lambda point: point.values["loss_d"] > 1.5) == 510
    assert stretch_start(points, lambda point: point.values["loss_d"] > 0) == 0
    assert stretch_start(points, lambda point: point.values["loss_d"] > 3) is None


@pytest.mark.parametrize("symptom", ["generator_overpowering", "saturated_loss"])
def test_new_symptoms_are_complete_and_repair_never_acts_on_them(symptom: str) -> None:
    record = SYMPTOMS[symptom]
    assert record.repair is None
    assert all((record.meaning, record.test, record.source, record.advice, record.loop_advice))
    assert set(record.reads) <= {field.name for field in dataclasses.fields(Signals)}


@pytest.mark.parametrize("factor", [1e5, 1e8])
def test_loss_that_explodes_has_diverged(factor: float) -> None:
    def curve(reading: int, rng: random.Random) -> Signals:
        growth = factor ** max(0.0, (reading - 160) / 40)
        return Signals(loss_d=(1 + 0.1 * rng.random()) * growth, loss_g=(0.8 + 0.1 * rng.random()) * growth)

    finding = by_symptom(curve)["divergence"]
    assert (finding.severity, finding.confidence) == (1.0, 0.9)
    assert finding.since > 1600
    live = lambda reading, rng: dataclasses.replace(curve(reading, rng), rank_train_fake=0.5)  # noqa: E731
    assert "divergence" not in by_symptom(live), "a live run ends at values that are not finite"


def test_large_losses_are_no_divergence() -> None:
    assert "divergence" not in by_symptom(lambda _, rng: Signals(loss_d=80 + rng.random(), loss_g=0.0))
    clipped = lambda reading, _: Signals(loss_d=1e-3, loss_g=0.01 if reading < 150 else 100.0)  # noqa: E731
    assert "divergence" not in by_symptom(clipped)
    critic = lambda reading, rng: Signals(loss_d=-rng.random() * reading, loss_g=-(reading**1.5))  # noqa: E731
    assert "divergence" not in by_symptom(critic)


def test_slow_cycles_of_a_long_log_are_a_hint() -> None:
    def curve(reading: int, rng: random.Random) -> Signals:
        swing = math.sin(2 * math.pi * reading / 100)
        return Signals(loss_d=1 + 0.5 * swing + 0.05 * rng.gauss(0, 1), loss_g=1 - 0.4 * swing + 0.05 * rng.gauss(0, 1))

    finding = by_symptom(curve, 1200)["oscillation"]
    assert finding.severity == 0.4
    assert 900 <= finding.evidence["period"] <= 1100
    noise = lambda _, rng: Signals(loss_d=1 + 0.2 * rng.gauss(0, 1), loss_g=1 + 0.2 * rng.gauss(0, 1))  # noqa: E731
    assert "oscillation" not in by_symptom(noise, 1200)


def test_noise_and_losses_of_zero_are_no_drift() -> None:
    noise = lambda _, rng: Signals(loss_d=rng.gauss(1.2, 0.1), loss_g=rng.gauss(1, 0.1), accuracy_d=0.995)  # noqa: E731
    for length in (15, 60, 200):
        assert by_symptom(noise, length)["discriminator_overpowering"].severity < SERIOUS
    percent = lambda _, rng: Signals(loss_d=rng.gauss(0.6, 0.05), loss_g=rng.gauss(1, 0.1), accuracy_d=75.0)  # noqa: E731
    assert "discriminator_overpowering" not in by_symptom(percent)
    assert by_symptom(lambda _, rng: Signals(loss_d=0.0, loss_g=0.0)) == {}


def test_ten_lines_at_a_clip_suffice() -> None:
    assert by_symptom(lambda _, rng: Signals(loss_d=1e-6, loss_g=16.1181), 10)["saturated_loss"].severity == 0.8
    assert "saturated_loss" not in by_symptom(lambda _, rng: Signals(loss_d=0.1234 * rng.random(), loss_g=3.1181), 10)


def test_losses_of_a_game_that_cannot_go_on_show_a_win_in_ten_lines() -> None:
    """The course of a pasted excerpt: D 0.000 and G at 24 ln 2 or more in its last readings."""
    losses = [(0.3, 3.0), (0.041, 9.0), (0.005, 15.0), (0.001, 21.0), (0.0, 24.0), (0.0, 27.0), (0.0, 27.631)]

    def result_of(pairs: list[tuple[float, float]], caveat: str = "") -> RunDiagnosis:
        readings = [
            SignalReading(step, step / len(pairs), Signals(loss_d=d, loss_g=g))
            for step, (d, g) in enumerate(pairs, start=1)
        ]
        return diagnose_run(readings, loss_caveat=caveat)

    (episode,) = result_of(losses).episodes
    assert (episode.finding.symptom, episode.finding.since) == ("discriminator_overpowering", 5)
    assert result_of(losses).verdict == "unhealthy"
    assert result_of(losses[:-1]).episodes == (), "two readings may be chance"
    assert result_of(losses, "a contrastive loss").verdict == "unknown"


def test_losses_that_cannot_tell_are_the_reason_of_an_unknown_verdict() -> None:
    readings = [SignalReading(step, step / 60, Signals(loss_d=8.0, loss_g=0.01)) for step in range(1, 61)]
    assert "generator_overpowering" in {each.finding.symptom for each in diagnose_run(readings).episodes}
    result = diagnose_run(readings, loss_caveat="the loss D may include the contrastive term C")
    assert "generator_overpowering" not in {each.finding.symptom for each in result.episodes}
