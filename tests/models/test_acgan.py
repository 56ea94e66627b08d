"""Auxiliary classifier (Odena 2017)."""

import math

import pytest
import torch
from torch.nn.functional import log_softmax


@pytest.fixture
def create(create_trainer):
    def create(**options):
        return create_trainer("acgan", **{"classes": 10, "penalty_interval": 1, "knobs": {}, **options})

    return create


def cross_entropy(trainer, samples, labels):
    """-E log p(y), from the outputs of the classifier."""
    discriminator = trainer.model.networks["discriminator"]
    logits = discriminator.classify(discriminator.features(samples))
    return -log_softmax(logits, dim=1)[torch.arange(len(labels)), labels].mean()


def test_losses_are_the_sum_of_the_formula(create):
    trainer = create(fakes="fresh")
    batch = trainer.reals.batch(0)
    inputs = trainer.record_inputs()
    with_classes = trainer.loss("discriminator", class_weight=0.5)
    real, fake = inputs
    without = trainer.loss("discriminator", class_weight=0.0)
    real_term, fake_term = (cross_entropy(trainer, each, batch.condition) for each in (real, fake))
    torch.testing.assert_close(with_classes.terms["class_real"], real_term.detach())
    torch.testing.assert_close(with_classes.terms["class_fake"], fake_term.detach())
    torch.testing.assert_close(with_classes.total, without.total + 0.5 * (real_term + fake_term))
    assert without.terms.keys() == {"adversarial"}


def test_generator_minimises_the_cross_entropy_of_its_labels(create):
    trainer = create(fakes="fresh")
    batch = trainer.reals.batch(0)
    inputs = trainer.record_inputs()
    loss = trainer.loss("generator", class_weight=2.0)
    expected = cross_entropy(trainer, inputs[0], batch.condition)
    torch.testing.assert_close(loss.terms["class_fake"], expected.detach())
    torch.testing.assert_close(loss.total, trainer.loss("generator", class_weight=0.0).total + 2 * expected)


@pytest.mark.parametrize("classes", [10, 11])
def test_classifier_without_knowledge_has_the_entropy_of_the_classes(create, classes):
    """ln 10 = 2.3026, ln 11 = 2.3979."""
    trainer = create(classes=classes)
    classifier = trainer.model.networks["discriminator"].classifier
    torch.nn.init.zeros_(classifier.weight)
    torch.nn.init.zeros_(classifier.bias)
    terms = trainer.loss("discriminator").terms
    assert terms["class_real"].item() == pytest.approx(math.log(classes), abs=1e-6)
    assert terms["class_fake"].item() == pytest.approx(math.log(classes), abs=1e-6)


def test_untrained_classifier_is_near_the_entropy(create):
    assert create().loss("discriminator").terms["class_real"].item() == pytest.approx(math.log(10), abs=0.1)


def test_one_class_adds_nothing(create):
    trainer = create(classes=1)
    terms = trainer.loss("discriminator").terms
    assert terms["class_real"] == terms["class_fake"] == 0
    assert trainer.loss("discriminator").total == trainer.loss("discriminator", class_weight=0.0).total


def test_logit_does_not_depend_on_the_label(create):
    discriminator = create().model.networks["discriminator"]
    features = discriminator.features(torch.randn(4, 1, 16, 16))
    logits = [discriminator.logits(features, torch.full((4,), label)) for label in (0, 9)]
    assert torch.equal(*logits)
    assert discriminator.classify(features).shape == (4, 10)


def test_weight_is_a_knob_with_its_range(create):
    model = create().model
    assert model.knobs.class_weight == 1
    assert "class_weight" in model.turnable
    assert str(model.knobs.ranges()["class_weight"]) == "0 (off) or 0.0001 to 10"


def test_other_discriminators_predict_no_labels(create_trainer):
    discriminator = create_trainer("cgan", classes=3).model.networks["discriminator"]
    with pytest.raises(TypeError, match="predicts no labels"):
        discriminator.classify(torch.zeros(1, 8, 4, 4))


def test_classes_are_learned(create_trainer):
    """Constant images of three grey levels: a few steps of the classifier separate them."""
    trainer = create_trainer("acgan", classes=3, batch=24, knobs={"lr_d": 5e-3, "lr_g": 1e-4}, penalty_interval=1)
    levels = trainer.reals.batch(0)
    real = (levels.condition - 1.0)[:, None, None, None].expand(-1, 1, 16, 16)

    class Levels:
        def batch(self, index):
            return type(levels)(real, levels.condition)

    trainer.reals = Levels()
    for _ in range(15):
        trainer.step()
    discriminator = trainer.model.networks["discriminator"]
    predicted = discriminator.classify(discriminator.features(real)).argmax(1)
    assert torch.equal(predicted, levels.condition)
