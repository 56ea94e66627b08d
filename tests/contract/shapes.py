"""Toy models of different kinds of training, which other programs implement as branches of the training loop.

They use points in the plane and perceptrons, and are not meant to give good samples.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import mse_loss, one_hot, softplus

from equipoise.core.data import Batch
from equipoise.core.knobs import Knobs
from equipoise.core.model import Loss, Model, Moment, Networks, OptimizerSettings, Phase
from equipoise.losses.penalties import r1_penalty

BATCH = 8
LATENT = 3
ToyMoment = Moment[Any]


@dataclass(frozen=True)
class Points:
    """Points around (1, 1) with random labels, determined by the index of the batch."""

    def batch(self, index: int) -> Batch:
        source = torch.Generator().manual_seed(index)
        return Batch(torch.randn(BATCH, 2, generator=source) + 1, torch.randint(3, (BATCH,), generator=source))


@dataclass(frozen=True)
class Unpaired:
    """Unpaired reals of two domains."""

    first: Tensor
    second: Tensor

    def to(self, target: torch.device) -> "Unpaired":
        return Unpaired(self.first.to(target), self.second.to(target))

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class TwoDomains:
    """Points around (1, 1), and points around (-1, -1)."""

    def batch(self, index: int) -> Unpaired:
        return Unpaired(Points().batch(2 * index).real, Points().batch(2 * index + 1).real - 2)


def perceptron(entry: int, exit: int, source: Generator) -> nn.Sequential:
    """Build a perceptron with one hidden layer and batch normalisation, whose buffers are part of a checkpoint."""
    network = nn.Sequential(nn.Linear(entry, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, exit))
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.5, generator=source)
    return network


def latents(moment: ToyMoment) -> Tensor:
    return torch.randn(BATCH, LATENT, generator=moment.generator)


def discriminator_objective(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """Compute the loss of the discriminator: Goodfellow 2014."""
    return softplus(-real_logit).mean() + softplus(fake_logit).mean()


def discriminator_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
    fake = networks["generator"](latents(moment))
    real_logit, fake_logit = networks["discriminator"](batch.real), networks["discriminator"](fake.detach())
    total = discriminator_objective(real_logit, fake_logit)
    return Loss(total, {"adversarial": total.detach()}, real_logit.detach(), fake_logit.detach(), carry={"fake": fake})


def generator_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
    """Compute the loss of the generator, on the fakes of the discriminator's phase if there are any."""
    fake = moment.carried["fake"] if "fake" in moment.carried else networks["generator"](latents(moment))
    return Loss(softplus(-networks["discriminator"](fake)).mean())


DISCRIMINATOR = Phase("discriminator", ("discriminator",), discriminator_loss)
GENERATOR = Phase("generator", ("generator",), generator_loss)


def optimizer_settings(network: str, moment: ToyMoment) -> OptimizerSettings:
    knobs = moment.knobs
    return OptimizerSettings(
        "adam", knobs.lr_d if network.startswith("discriminator") else knobs.lr_g, knobs.beta1, knobs.beta2
    )


def toy_model(networks: Mapping[str, nn.Module], *phases: Phase, **changes: Any) -> Model[Knobs]:
    """Create a model with the defaults of all toy models."""
    defaults: dict[str, Any] = {
        "optimizer": optimizer_settings,
        "latent": lambda count, source, truncation: torch.randn(count, LATENT, generator=source),
        "generate": lambda networks, latent, condition, sampling: networks["generator"](latent),
        "logits": lambda networks, batch, moment: networks["discriminator"](batch.real),
        "probability": torch.sigmoid,
    }
    knobs = Knobs().with_values({"lr_g": 1e-2, "lr_d": 1e-2})
    return Model("toy", networks, phases, knobs, frozenset(Knobs.ranges()), **{**defaults, **changes})


def generator_and_discriminator(source: Generator) -> dict[str, nn.Module]:
    return {"generator": perceptron(LATENT, 2, source), "discriminator": perceptron(2, 1, source)}


def growing_network(source: Generator) -> Model[Knobs]:
    """A second half that is inactive for four steps and then faded in over five (Karras 2018, appendix A)."""
    networks = {**generator_and_discriminator(source), "detail": perceptron(LATENT, 2, source)}

    def generate(networks: Networks, latent: Tensor, fade: Tensor) -> Tensor:
        return networks["generator"](latent) + fade * networks["detail"](latent)

    def discriminator_phase(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        fake = generate(networks, latents(moment), moment.memory["fade"]).detach()
        return Loss(discriminator_objective(networks["discriminator"](batch.real), networks["discriminator"](fake)))

    def growing_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        fade = moment.memory["fade"]
        next_fade = (fade + (0.2 if moment.step >= 4 else 0.0)).clamp_max(1)
        fake = generate(networks, latents(moment), fade)
        return Loss(softplus(-networks["discriminator"](fake)).mean(), memory={"fade": next_fade})

    first_phase = Phase("generator", ("generator",), growing_loss)
    second_phase = Phase("whole", ("generator", "detail"), growing_loss)
    return toy_model(
        networks,
        Phase("discriminator", ("discriminator",), discriminator_phase),
        Phase(first_phase.name, first_phase.updates, first_phase.loss, when=lambda moment: moment.step < 4),
        Phase(second_phase.name, second_phase.updates, second_phase.loss, when=lambda moment: moment.step >= 4),
        memory={"fade": torch.zeros(())},
        averaged=("generator", "detail"),
        generate=lambda networks, latent, condition, sampling: generate(networks, latent, torch.ones(())),
    )


def running_mean(source: Generator) -> Model[Knobs]:
    """A penalty on the distance of logits from the running mean of the fakes (Tseng 2021, LeCam)."""

    def penalised_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        loss = discriminator_loss(networks, batch, moment)
        real_logit = networks["discriminator"](batch.real)
        mean = moment.memory["mean_fake"].lerp(loss.logit_fake.mean(), 0.3)
        penalty = (real_logit - mean).square().mean()
        return Loss(loss.total + 0.1 * penalty, {"penalty": penalty.detach()}, memory={"mean_fake": mean})

    phase = Phase("discriminator", ("discriminator",), penalised_loss)
    return toy_model(generator_and_discriminator(source), phase, GENERATOR, memory={"mean_fake": torch.zeros(())})


def image_pool(source: Generator) -> Model[Knobs]:
    """Half of the fakes are from a pool of up to 20 earlier ones (Shrivastava 2017)."""

    def pooled_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        pool, new = moment.memory["pool"], networks["generator"](latents(moment)).detach()
        fakes = new
        if len(pool):
            old = torch.randint(len(pool), (BATCH // 2,), generator=moment.generator)
            fakes = torch.cat([new[: BATCH // 2], pool[old]])
        combined = torch.cat([pool, new])
        order = torch.randperm(len(combined), generator=moment.generator)[:20]
        total = discriminator_objective(networks["discriminator"](batch.real), networks["discriminator"](fakes))
        return Loss(total, memory={"pool": combined[order]})

    phase = Phase("discriminator", ("discriminator",), pooled_loss)
    return toy_model(generator_and_discriminator(source), phase, GENERATOR, memory={"pool": torch.zeros(0, 2)})


def lazy_penalty(source: Generator) -> Model[Knobs]:
    """R1 every third step, in a separate phase, weighted by three (Karras 2020, StyleGAN2, appendix B)."""

    def penalty_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        penalty = r1_penalty(lambda samples: networks["discriminator"](samples), batch.real)
        return Loss(3 * 0.5 * penalty, {"r1": penalty.detach()})

    lazy = Phase("penalties", ("discriminator",), penalty_loss, when=lambda moment: moment.step % 3 == 0)
    return toy_model(generator_and_discriminator(source), DISCRIMINATOR, lazy, GENERATOR)


def pre_training(source: Generator) -> Model[Knobs]:
    """Six steps of regression before adversarial training (Yu 2017, SeqGAN, algorithm 1)."""

    def regression(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        factor = torch.rand(()) + np.random.rand() + random.random()  # global random generators
        return Loss(factor * mse_loss(networks["generator"](latents(moment)), batch.real))

    def is_adversarial(moment: ToyMoment) -> bool:
        return moment.step >= 6

    return toy_model(
        generator_and_discriminator(source),
        Phase("regression", ("generator",), regression, when=lambda moment: not is_adversarial(moment)),
        Phase("discriminator", ("discriminator",), discriminator_loss, when=is_adversarial, repeats=lambda moment: 2),
        Phase("generator", ("generator",), generator_loss, when=is_adversarial),
    )


def simultaneous(source: Generator) -> Model[Knobs]:
    """Both networks are updated at once, each with the other detached (Mescheder 2017, algorithm 1)."""

    def simultaneous_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        discriminator, fake = networks["discriminator"], networks["generator"](latents(moment))
        frozen = {name: weight.detach() for name, weight in discriminator.named_parameters()}
        loss_d = discriminator_objective(discriminator(batch.real), discriminator(fake.detach()))
        loss_g = softplus(-torch.func.functional_call(discriminator, frozen, (fake,))).mean()
        return Loss(loss_d + loss_g, {"discriminator": loss_d.detach(), "generator": loss_g.detach()})

    return toy_model(
        generator_and_discriminator(source), Phase("both", ("discriminator", "generator"), simultaneous_loss)
    )


def labels_for_fakes(source: Generator) -> Model[Knobs]:
    """Fakes are generated for random labels (Mirza 2014)."""
    networks = {"generator": perceptron(LATENT + 3, 2, source), "discriminator": perceptron(2 + 3, 1, source)}

    def with_labels(network: nn.Module, samples: Tensor, labels: Tensor) -> Tensor:
        return network(torch.cat([samples, one_hot(labels, 3).float()], dim=1))

    def conditional_discriminator_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        labels = torch.randint(3, (BATCH,), generator=moment.generator)
        fake = with_labels(networks["generator"], latents(moment), labels)
        discriminator = networks["discriminator"]
        total = discriminator_objective(
            with_labels(discriminator, batch.real, batch.condition), with_labels(discriminator, fake.detach(), labels)
        )
        return Loss(total, carry={"fake": fake, "labels": labels})

    def conditional_generator_loss(networks: Networks, batch: Batch, moment: ToyMoment) -> Loss:
        fake, labels = moment.carried["fake"], moment.carried["labels"]
        return Loss(softplus(-with_labels(networks["discriminator"], fake, labels)).mean())

    return toy_model(
        networks,
        Phase("discriminator", ("discriminator",), conditional_discriminator_loss),
        Phase("generator", ("generator",), conditional_generator_loss),
        num_classes=3,
        generate=lambda networks, latent, condition, sampling: with_labels(networks["generator"], latent, condition),
        logits=lambda networks, batch, moment: with_labels(networks["discriminator"], batch.real, batch.condition),
    )


def two_pairs(source: Generator) -> Model[Knobs]:
    """Four networks with an optimizer each (Zhu 2017, CycleGAN, eq. 3)."""
    sizes = {"generator_ab": 2, "generator_ba": 2, "discriminator_a": 1, "discriminator_b": 1}
    networks = {name: perceptron(2, size, source) for name, size in sizes.items()}

    def translate(networks: Networks, batch: Unpaired, moment: ToyMoment) -> Loss:
        fake_b, fake_a = networks["generator_ab"](batch.first), networks["generator_ba"](batch.second)
        cycle = (networks["generator_ba"](fake_b) - batch.first).abs().mean()
        cycle = cycle + (networks["generator_ab"](fake_a) - batch.second).abs().mean()
        adversarial = (
            softplus(-networks["discriminator_b"](fake_b)).mean()
            + softplus(-networks["discriminator_a"](fake_a)).mean()
        )
        return Loss(
            adversarial + 10 * cycle, {"cycle": cycle.detach()}, carry={"a": fake_a.detach(), "b": fake_b.detach()}
        )

    def discriminator_phase(side: str) -> Callable[[Networks, Unpaired, ToyMoment], Loss]:
        def loss(networks: Networks, batch: Unpaired, moment: ToyMoment) -> Loss:
            real = batch.first if side == "a" else batch.second
            network = networks[f"discriminator_{side}"]
            return Loss(discriminator_objective(network(real), network(moment.carried[side])))

        return loss

    return toy_model(
        networks,
        Phase("generators", ("generator_ab", "generator_ba"), translate),
        *(Phase(f"discriminator_{side}", (f"discriminator_{side}",), discriminator_phase(side)) for side in "ab"),
        averaged=("generator_ab", "generator_ba"),
        generate=lambda networks, latent, condition, sampling: networks["generator_ab"](latent[:, :2]),
        logits=lambda networks, batch, moment: networks["discriminator_a"](batch.first),
    )


TOY_MODELS: Mapping[str, Callable[[Generator], Model[Knobs]]] = {
    build.__name__: build
    for build in (
        growing_network,
        running_mean,
        image_pool,
        lazy_penalty,
        pre_training,
        simultaneous,
        labels_for_fakes,
        two_pairs,
    )
}
STREAMS = {"two_pairs": TwoDomains()}
