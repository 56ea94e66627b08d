"""Class labels in adversarial training: how they enter the discriminator, and the terms of an auxiliary classifier."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from equipoise.core.data import DataSpec
from equipoise.core.knobs import AdversarialKnobs, knob
from equipoise.core.model import Networks
from equipoise.errors import SettingError
from equipoise.losses.adversarial import WeightedPenalty, at_least_float32
from equipoise.models._adversarial_extensions import AdversarialMoment, Discriminator, DiscriminatorPass, Extensions

Conditioning = Literal["concat", "projection", "auxiliary"]
LABEL_WIDTH = 50
"""Numbers that represent a label in a hidden layer of the discriminator, as in Mirza 2014, section 4.1."""


class ConditioningOptions(Protocol):
    """Option of recipes with a choice of conditioning.

    `conditioning`: how the discriminator uses labels, if any. concat: as an input of a hidden layer (Mirza and Osindero
    2014); projection: an inner product of features and a vector per class is added to the logit (Miyato and Koyama
    2018); auxiliary: it predicts them, with the knob class_weight (Odena 2017).
    """

    @property
    def conditioning(self) -> Conditioning: ...


@dataclass(frozen=True, slots=True)
class ClassKnobs(AdversarialKnobs):
    """Knobs of a model whose discriminator predicts labels."""

    class_weight: float = knob(
        1, 1e-4, 10, "", "log", "cross-entropy of the labels that the discriminator predicts", can_be_off=True
    )


class ClassifyingDiscriminator(Discriminator):
    """Interface of a discriminator that also predicts labels."""

    def classify(self, features: Tensor) -> Tensor:
        """Compute one logit per class, (B, classes), from features."""
        raise TypeError("ClassifyingDiscriminator is an interface; its subclasses implement classify()")


class JointLayer(nn.Module):
    """Hidden layer of features and labels: features (B, W, ...) and labels (B,) int64 -> (B, W, ...)."""

    def __init__(self, convolution: type[nn.Conv1d] | type[nn.Conv2d], width: int, classes: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(classes, LABEL_WIDTH)
        self.convolution = convolution(width + LABEL_WIDTH, width, 3, padding=1)
        self.activation = nn.LeakyReLU(0.2)

    def forward(self, features: Tensor, labels: Tensor) -> Tensor:
        """Concatenate the features at every place with the embedding of the label, and convolve."""
        label: Tensor = self.embedding(labels)
        maps = label[(...,) + (None,) * (features.ndim - 2)].expand(-1, -1, *features.shape[2:])
        joint: Tensor = self.activation(self.convolution(torch.cat([features, maps], dim=1)))
        return joint


def validate_labels(name: str, spec: DataSpec) -> None:
    """Raise SettingError for images or sequences without labels."""
    if (spec.is_image or spec.is_sequence) and not spec.classes:
        raise SettingError(f"{name} needs labels, but the data has none; use --model dcgan, or data with labels")


def label_extensions(conditioning: Conditioning, classes: int) -> Extensions:
    """Return the terms and the knob of an auxiliary classifier, or nothing for other conditioning or no classes."""
    if conditioning != "auxiliary" or not classes:
        return Extensions()
    return Extensions(
        knobs=ClassKnobs, discriminator_terms=discriminator_class_terms, generator_terms=generator_class_terms
    )


def discriminator_class_terms(
    networks: Networks, outputs: DiscriminatorPass, moment: AdversarialMoment
) -> Mapping[str, WeightedPenalty]:
    """Compute lambda (CE(c(x), y) + CE(c(G(z, y)), y)): Odena 2017, equation 3, as a loss; lambda is `class_weight`."""
    weight = _class_weight(moment)
    if not weight or outputs.real_features is None:
        return {}
    real = class_loss(networks, outputs.real_features, outputs.labels)
    fake = class_loss(networks, outputs.fake_features, outputs.labels)
    return {"class_real": WeightedPenalty(weight, real), "class_fake": WeightedPenalty(weight, fake)}


def generator_class_terms(
    networks: Networks, outputs: DiscriminatorPass, moment: AdversarialMoment
) -> Mapping[str, WeightedPenalty]:
    """Compute lambda CE(c(G(z, y)), y): Odena 2017, section 3; lambda is `class_weight`."""
    weight = _class_weight(moment)
    if not weight:
        return {}
    return {"class_fake": WeightedPenalty(weight, class_loss(networks, outputs.fake_features, outputs.labels))}


def class_loss(networks: Networks, features: Tensor, labels: Tensor | None) -> Tensor:
    """Compute the cross-entropy of the predicted labels, a scalar in nats: ln(classes) if all are equally likely."""
    if labels is None:
        raise SettingError("this model predicts labels, but a batch has none; use data with labels")
    logits = cast(ClassifyingDiscriminator, networks["discriminator"]).classify(features)
    return cross_entropy(at_least_float32(logits), labels)


def _class_weight(moment: AdversarialMoment) -> float:
    return cast(ClassKnobs, moment.knobs).class_weight
