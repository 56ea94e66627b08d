"""The likely causes of findings: chains of consequences, evidence, and statements of what a log cannot tell."""

import pytest

from equipoise.core.observations import Finding
from equipoise.diagnosis.rendering.causes import CAUSES, RunExtent, likely_cause
from equipoise.diagnosis.symptoms import SYMPTOMS


def finding(symptom: str, since: int = 500, **evidence: float) -> Finding:
    return Finding(symptom, 0.8, evidence, since, 0.9)


@pytest.mark.parametrize("symptom", SYMPTOMS)
@pytest.mark.parametrize("since", [0, 900])
def test_every_problem_has_a_likely_cause(symptom: str, since: int) -> None:
    """Also without a single number of evidence."""
    text = likely_cause(finding(symptom, since), [], RunExtent(1, 1000, "step"))
    if symptom not in ("equilibrium", "saturated_loss"):
        assert text
    assert not text.endswith(".")


def test_causes_name_existing_symptoms() -> None:
    assert set(CAUSES) <= set(SYMPTOMS)
    assert {cause for causes in CAUSES.values() for cause in causes} <= set(SYMPTOMS)


def test_a_finding_during_its_cause_is_a_consequence() -> None:
    collapse, won = finding("collapse", 600), finding("discriminator_overpowering", 500)
    text = likely_cause(collapse, [(won, None)], RunExtent(1, 1000, "step"))
    assert text.startswith("a consequence of discriminator_overpowering, which began at step 500")
    assert "consequence" not in likely_cause(won, [(collapse, None)], RunExtent(1, 1000, "step")), (
        "the cause is not a consequence"
    )


def test_a_cause_that_ended_before_or_began_later_explains_nothing() -> None:
    collapse = finding("collapse", 600)
    for other, until in ((finding("discriminator_overpowering", 100), 200), (finding("divergence", 700), None)):
        assert "consequence" not in likely_cause(collapse, [(other, until)], RunExtent(1, 1000, "step"))


def test_the_data_are_named_first() -> None:
    others = [(finding("discriminator_overpowering", 0), None), (finding("data_out_of_range", 0), None)]
    assert "data_out_of_range" in likely_cause(finding("collapse"), others, RunExtent(1, 1000, "step"))


def test_the_onset_decides_between_early_and_late_causes() -> None:
    numbers = {"probability_real": 0.99995, "probability_fake": 0.0}
    early = likely_cause(finding("discriminator_overpowering", 28, **numbers), [], RunExtent(1, 7000, "step"))
    late = likely_cause(finding("discriminator_overpowering", 5000, **numbers), [], RunExtent(1, 7000, "epoch"))
    assert early.startswith("D(x) = 1.00 and D(G(z)) = 0.00 from step 28 on: the discriminator learned faster")
    assert "cannot tell which" in early
    assert "from epoch 5,000 on: the discriminator overtook" in late


def test_overfitting_names_its_harm() -> None:
    extent = RunExtent(1, 1000, "step")
    texts = [
        likely_cause(finding("discriminator_overfitting", rank_train_held_out=0.6, **evidence), [], extent)
        for evidence in ({}, {"kd_relative_to_best": 1.0}, {"kd_relative_to_best": 1.63})
    ]
    assert "unknown without a metric" in texts[0]
    assert "not harmed quality yet" in texts[1]
    assert "harms quality: kd is 1.63 times as bad as its best" in texts[2]


def test_losses_alone_say_nothing_about_quality() -> None:
    numbers = {"loss_d": 0.1, "loss_d_at_most": 1.2, "loss_g": 4.0, "loss_g_at_least": 1.0}
    text = likely_cause(finding("discriminator_overpowering", **numbers), [], RunExtent(1, 1000, "step"))
    assert "loss_d fell from 1.2 to 0.1 while loss_g rose from 1 to 4: the discriminator has won" in text
    assert "unknown without a metric" in text


@pytest.mark.parametrize(
    ("loss", "probability", "program"),
    [(16.118, 1e-7, "Keras"), (100.0, 3.7e-44, "BCELoss"), (27.631, 1e-12, "pix2pix")],
)
def test_a_clip_is_named_by_its_program(loss: float, probability: float, program: str) -> None:
    evidence = {"loss_g": loss, "constant_for": 0.9, "clipped_probability": probability}
    text = likely_cause(finding("saturated_loss", **evidence), [], RunExtent(1, 1000, "step"))
    assert program in text
    assert f"{loss:.5g}" in text


def test_swapped_labels_are_recognised_by_inverted_outputs() -> None:
    text = likely_cause(
        finding("generator_overpowering", probability_real=0.1, probability_fake=0.9), [], RunExtent(1, 100, "step")
    )
    assert "labels of reals and fakes are swapped" in text
    by_losses = finding("generator_overpowering", loss_d=13.9, at_chance=1.39, loss_g=0.0)
    assert "10 times its value at chance" in likely_cause(by_losses, [], RunExtent(1, 100, "step"))


def test_a_divergence_at_the_first_reading_has_other_causes_than_a_later_one() -> None:
    run = RunExtent(100, 90_000, "step")
    assert "not finite at the first reading" in likely_cause(finding("divergence", 100), [], run)
    assert "finite before step 2,000" in likely_cause(finding("divergence", 2000), [], run)
    exploded = finding("divergence", 2000, loss_d=5e7, usual=1.4)
    assert "loss_d grew from a usual size of 1.4 to 5e+07" in likely_cause(exploded, [], run)
