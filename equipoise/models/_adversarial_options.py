"""Options of adversarial training that every recipe with one discriminator has, and the knobs that they turn on."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol

from equipoise.core.knobs import AdversarialKnobs, check_turnable
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES, AdversarialLossName
from equipoise.nn.augment import Augmentation

Constraint = Literal["none", "weight_clipping", "gradient_penalty", "spectral_norm"]
Fakes = Literal["fresh", "shared"]
OptimizerName = Literal["adam", "rmsprop", "sgd"]

LABEL_KNOBS = frozenset({"real_label_low", "real_label_high", "fake_label_low", "fake_label_high"})


class AdversarialOptions(Protocol):
    """Options of adversarial training, fields of every recipe that uses `adversarial_model` (_adversarial.py).

    `loss`: adversarial loss, a key of `losses.adversarial.LOSSES`. `constraint`: weight_clipping clips the weights of
    the discriminator to [-clip, clip], gradient_penalty sets `gp_weight` to 10, spectral_norm divides each layer by its
    largest singular value. `fakes`: fresh to generate new fakes in the generator's phase, shared to reuse those of the
    discriminator's phase, which saves one pass of the generator. `penalty_interval`: R1 and R2 are applied every this
    many steps in a separate phase, weighted by the interval (Karras 2020, StyleGAN2, section 3.1 and appendix B); 1
    adds them to every discriminator update. `clip`: bound of weight clipping. `optimizer`: optimizer of both networks;
    rmsprop has no beta1 and uses beta2 as its decay, sgd uses beta1 as its momentum. `latent_dim`: length of the latent
    vector, drawn from N(0, 1). `knobs`: values that differ from the defaults of the knobs.
    """

    @property
    def loss(self) -> AdversarialLossName: ...
    @property
    def constraint(self) -> Constraint: ...
    @property
    def fakes(self) -> Fakes: ...
    @property
    def penalty_interval(self) -> int: ...
    @property
    def clip(self) -> float: ...
    @property
    def optimizer(self) -> OptimizerName: ...
    @property
    def latent_dim(self) -> int: ...
    @property
    def knobs(self) -> Mapping[str, float] | None: ...


def validate_adversarial_options(options: AdversarialOptions) -> None:
    """Raise SettingError for an option outside its range."""
    validate_counts(penalty_interval=options.penalty_interval, latent_dim=options.latent_dim)
    if not options.clip > 0:
        raise SettingError(f"clip = {options.clip:g}: it must be above 0")


def validate_counts(**options: int) -> None:
    """Raise SettingError for the first option below 1."""
    for name, value in options.items():
        if value < 1:
            raise SettingError(f"{name} = {value}: it must be at least 1")


def turnable_knobs(
    options: AdversarialOptions, augmentations: Sequence[Augmentation], knobs: type[AdversarialKnobs]
) -> frozenset[str]:
    """Return the names of the knobs that act with these options."""
    inactive = set() if LOSSES[options.loss].has_labels else set(LABEL_KNOBS)
    inactive |= {"gp_weight"} if options.constraint != "gradient_penalty" else set()
    inactive |= {"augment_p"} if not augmentations else set()
    inactive |= {"adam": set(), "rmsprop": {"beta1"}, "sgd": {"beta2"}}[options.optimizer]
    return frozenset(knobs.ranges()) - inactive


def initial_knobs(
    name: str, options: AdversarialOptions, turnable: frozenset[str], knobs: type[AdversarialKnobs]
) -> AdversarialKnobs:
    """Return the knobs of a model: its defaults and the values of its options.

    Raises SettingError for a knob that does not act.
    """
    values = {"gp_weight": 10.0} if options.constraint == "gradient_penalty" else {}
    # A recipe's default betas for Adam are ignored by other optimizers; any other knob without effect is an error.
    unused_betas = {"beta1", "beta2"} - turnable
    values |= {knob: value for knob, value in (options.knobs or {}).items() if knob not in unused_betas}
    check_turnable(values, turnable, name)
    return knobs().with_values(values)
