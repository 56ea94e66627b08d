"""What a model with one discriminator adds to adversarial training: how fakes are drawn, terms, phases and knobs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from equipoise.core.captions import Captions
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Moment, Networks, Phase
from equipoise.losses.adversarial import WeightedPenalty

AdversarialMoment = Moment[AdversarialKnobs]


class Discriminator(nn.Module):
    """Interface of a discriminator, for type annotations."""

    def features(self, samples: Tensor) -> Tensor:
        """Compute the input of the last layer."""
        raise TypeError("Discriminator is an interface; its subclasses implement features()")

    def logits(self, features: Tensor, condition: Tensor | None) -> Tensor:
        """Compute logits (B,) from features."""
        raise TypeError("Discriminator is an interface; its subclasses implement logits()")


@dataclass(frozen=True, slots=True)
class DiscriminatorPass:
    """What a phase has shown to the discriminator, for additional terms of its loss.

    `real`, `fake`: samples (B, ...) with augmentation and noise. `real_features`, `fake_features`: what
    :meth:`Discriminator.features` returned. `real_logit`, `fake_logit`: (B, ...). `labels`: (B,) int64, None without
    classes. The generator's phase has no reals.
    """

    fake: Tensor
    fake_features: Tensor
    fake_logit: Tensor
    labels: Tensor | None
    real: Tensor | None = None
    real_features: Tensor | None = None
    real_logit: Tensor | None = None


Draw = Callable[[Networks, int, Tensor | None, AdversarialMoment], Tensor]
"""Function (networks, count, labels, moment) -> fakes (count, ...) of training."""
Terms = Callable[[Networks, DiscriminatorPass, AdversarialMoment], Mapping[str, WeightedPenalty]]
"""Function (networks, outputs, moment) -> additional terms of a loss, those that are on."""


def do_nothing(networks: Networks, moment: AdversarialMoment) -> None:
    """Prepare nothing before a step."""


def no_terms(
    networks: Networks, outputs: DiscriminatorPass, moment: AdversarialMoment
) -> Mapping[str, WeightedPenalty]:
    """Add no term to a loss."""
    return {}


@dataclass(frozen=True, kw_only=True)
class Extensions:
    """What a model adds to adversarial training.

    `knobs`: class of its knobs; those that it adds always act. `draw`: how fakes are drawn in training, None for
    normal latents; random numbers come from the generator of the moment. `captions`: how the captions are written that
    the networks take instead of labels, None for none. `prepare(networks, moment)`: runs at the start of the
    discriminator's phase, such as to set the level of growing networks. `transform(samples, moment)`: last change of
    all inputs of the discriminator, after augmentation and noise. `discriminator_terms`, `generator_terms`: of L_D and
    L_G. `phases`: run after the generator's.
    """

    knobs: type[AdversarialKnobs] = AdversarialKnobs
    draw: Draw | None = None
    captions: Captions | None = None
    prepare: Callable[[Networks, AdversarialMoment], None] = do_nothing
    transform: Callable[[Tensor, AdversarialMoment], Tensor] | None = None
    discriminator_terms: Terms = no_terms
    generator_terms: Terms = no_terms
    phases: Sequence[Phase] = ()


NO_EXTENSIONS = Extensions()
