"""Adversarial training with one discriminator: a model from networks and the options of a recipe.

A recipe is a frozen dataclass that has the fields of AdversarialOptions (_adversarial_options.py); its `build` builds
the networks and passes both to :func:`adversarial_model`. A generator maps a latent (B, L), and labels (B,), captions
(B, T) or None, to samples; a discriminator implements Discriminator. What a model adds is in Extensions
(_adversarial_extensions.py); the losses are in _adversarial_phases.py. What differs in sampling is replaced in the
model that is returned.
"""

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Generator, Tensor, nn

from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.model import Model, Networks, Phase
from equipoise.core.sampling import Sampling
from equipoise.losses.adversarial import LOSSES
from equipoise.losses.penalties import lecam_memory
from equipoise.models._adversarial_extensions import NO_EXTENSIONS, Extensions
from equipoise.models._adversarial_options import AdversarialOptions, initial_knobs, turnable_knobs
from equipoise.models._adversarial_phases import AdversarialPhases, discriminator_steps, generator_steps
from equipoise.nn import latents
from equipoise.nn.augment import Augmentation
from equipoise.nn.spectral import spectral_norm


def adversarial_model(
    name: str,
    options: AdversarialOptions,
    networks: Mapping[str, nn.Module],
    generator: Generator,
    *,
    augmentations: Sequence[Augmentation] = (),
    classes: int = 0,
    extensions: Extensions = NO_EXTENSIONS,
) -> Model[AdversarialKnobs]:
    """Compose a model of a generator, a discriminator and the options of a recipe.

    `networks`: "generator" and "discriminator". `generator`: of the initial vectors of spectral normalisation.
    `augmentations`: suitable ones. `classes`: number of labels that are used. `extensions`: what the model adds.
    """
    if options.constraint == "spectral_norm":
        for module in networks["discriminator"].modules():
            if isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d | nn.Embedding):
                spectral_norm(module, generator)
    turnable = turnable_knobs(options, augmentations, extensions.knobs)
    is_conditional = bool(classes) or extensions.captions is not None
    phases = AdversarialPhases(options, LOSSES[options.loss], tuple(augmentations), is_conditional, extensions)
    lazy = (Phase("penalties", ("discriminator",), phases.lazy_penalties, when=phases.is_penalty_due),)
    return Model(
        name=name,
        networks=networks,
        phases=(
            Phase("discriminator", ("discriminator",), phases.discriminator_loss, repeats=discriminator_steps),
            *(lazy if options.penalty_interval > 1 else ()),
            Phase("generator", ("generator",), phases.generator_loss, repeats=generator_steps),
            *extensions.phases,
        ),
        knobs=initial_knobs(name, options, turnable, extensions.knobs),
        turnable=turnable,
        optimizer=phases.optimizer_settings,
        latent=lambda count, source, truncation: latents.normal(count, options.latent_dim, source, truncation),
        generate=_generate,
        logits=phases.logits_of_reals,
        memory=lecam_memory(torch.device("cpu")),
        num_classes=classes,
        captions=extensions.captions,
        mixed_precision=bool(augmentations),
        probability=LOSSES[options.loss].probability,
        ideal=phases.ideal_loss,
    )


def _generate(networks: Networks, latent: Tensor, condition: Tensor | None, sampling: Sampling) -> Tensor:
    return cast(Tensor, networks["generator"](latent, condition))
