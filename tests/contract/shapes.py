"""Shape probes: toy games, each of a shape that other code gives its loop a branch for. Here they are values.

Points in the plane instead of images, perceptrons instead of everything else; nothing is meant to become good.
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
from equipoise.losses.penalties import zero_centred

BATCH = 8
LATENT = 3
Now = Moment[Any]


@dataclass(frozen=True)
class Points:
    """Points around (1, 1), labelled by number: batch number `index` and nothing else decides."""

    def batch(self, index: int) -> Batch:
        source = torch.Generator().manual_seed(index)
        return Batch(torch.randn(BATCH, 2, generator=source) + 1, torch.randint(3, (BATCH,), generator=source))


@dataclass(frozen=True)
class Unpaired:
    """Reals of two domains, which have nothing to do with each other but their number."""

    first: Tensor
    second: Tensor

    def to(self, target: torch.device) -> "Unpaired":
        return Unpaired(self.first.to(target), self.second.to(target))

    def __len__(self) -> int:
        return len(self.first)


@dataclass(frozen=True)
class TwoDomains:
    """Points around (1, 1), and others around (-1, -1)."""

    def batch(self, index: int) -> Unpaired:
        return Unpaired(Points().batch(2 * index).real, Points().batch(2 * index + 1).real - 2)


def perceptron(entry: int, exit: int, source: Generator) -> nn.Sequential:
    """One hidden layer with batch norm: a buffer that a checkpoint must hold too."""
    network = nn.Sequential(nn.Linear(entry, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, exit))
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.5, generator=source)
    return network


def latents(moment: Now) -> Tensor:
    return torch.randn(BATCH, LATENT, generator=moment.generator)


def wins(real_logit: Tensor, fake_logit: Tensor) -> Tensor:
    """What the discriminator minimises: Goodfellow 2014."""
    return softplus(-real_logit).mean() + softplus(fake_logit).mean()


def discriminate(networks: Networks, batch: Batch, moment: Now) -> Loss:
    fake = networks["generator"](latents(moment))
    real_logit, fake_logit = networks["discriminator"](batch.real), networks["discriminator"](fake.detach())
    total = wins(real_logit, fake_logit)
    return Loss(total, {"adversarial": total.detach()}, real_logit.detach(), fake_logit.detach(), carry={"fake": fake})


def fool(networks: Networks, batch: Batch, moment: Now) -> Loss:
    """What the generator minimises, on the fakes that the discriminator's phase made, where there are any."""
    fake = moment.carried["fake"] if "fake" in moment.carried else networks["generator"](latents(moment))
    return Loss(softplus(-networks["discriminator"](fake)).mean())


DISCRIMINATOR = Phase("discriminator", ("discriminator",), discriminate)
GENERATOR = Phase("generator", ("generator",), fool)


def settings(network: str, moment: Now) -> OptimizerSettings:
    knobs = moment.knobs
    return OptimizerSettings(
        "adam", knobs.lr_d if network.startswith("discriminator") else knobs.lr_g, knobs.beta1, knobs.beta2
    )


def game(networks: Mapping[str, nn.Module], *phases: Phase, **others: Any) -> Model[Knobs]:
    """What the toys have in common."""
    common: dict[str, Any] = {
        "optimizer": settings,
        "latent": lambda count, source, truncation: torch.randn(count, LATENT, generator=source),
        "generate": lambda networks, latent, condition: networks["generator"](latent),
        "logits": lambda networks, batch, moment: networks["discriminator"](batch.real),
        "probability": torch.sigmoid,
    }
    knobs = Knobs().with_values({"lr_g": 1e-2, "lr_d": 1e-2})
    return Model("toy", networks, phases, knobs, frozenset(Knobs.ranges()), **{**common, **others})


def pair(source: Generator) -> dict[str, nn.Module]:
    return {"generator": perceptron(LATENT, 2, source), "discriminator": perceptron(2, 1, source)}


def growing_network(source: Generator) -> Model[Knobs]:
    """A second half that sleeps for four steps and is then faded in over five (Karras 2018, appendix A)."""
    networks = {**pair(source), "detail": perceptron(LATENT, 2, source)}

    def made(networks: Networks, latent: Tensor, fade: Tensor) -> Tensor:
        return networks["generator"](latent) + fade * networks["detail"](latent)

    def judge(networks: Networks, batch: Batch, moment: Now) -> Loss:
        fake = made(networks, latents(moment), moment.memory["fade"]).detach()
        return Loss(wins(networks["discriminator"](batch.real), networks["discriminator"](fake)))

    def grow(networks: Networks, batch: Batch, moment: Now) -> Loss:
        fade = moment.memory["fade"]
        later = (fade + (0.2 if moment.step >= 4 else 0.0)).clamp_max(1)
        fake = made(networks, latents(moment), fade)
        return Loss(softplus(-networks["discriminator"](fake)).mean(), memory={"fade": later})

    asleep, awake = Phase("generator", ("generator",), grow), Phase("whole", ("generator", "detail"), grow)
    return game(
        networks,
        Phase("discriminator", ("discriminator",), judge),
        Phase(asleep.name, asleep.updates, asleep.loss, when=lambda moment: moment.step < 4),
        Phase(awake.name, awake.updates, awake.loss, when=lambda moment: moment.step >= 4),
        memory={"fade": torch.zeros(())},
        averaged=("generator", "detail"),
        generate=lambda networks, latent, condition: made(networks, latent, torch.ones(())),
    )


def running_mean(source: Generator) -> Model[Knobs]:
    """A penalty on logits far from where the other side's have been (Tseng 2021, LeCam)."""

    def anchored(networks: Networks, batch: Batch, moment: Now) -> Loss:
        loss = discriminate(networks, batch, moment)
        real_logit = networks["discriminator"](batch.real)
        mean = moment.memory["mean_fake"].lerp(loss.logit_fake.mean(), 0.3)
        penalty = (real_logit - mean).square().mean()
        return Loss(loss.total + 0.1 * penalty, {"penalty": penalty.detach()}, memory={"mean_fake": mean})

    phase = Phase("discriminator", ("discriminator",), anchored)
    return game(pair(source), phase, GENERATOR, memory={"mean_fake": torch.zeros(())})


def image_pool(source: Generator) -> Model[Knobs]:
    """Half of the fakes are old ones, from a pool that fills up to 20 and is overwritten then (Shrivastava 2017)."""

    def remember(networks: Networks, batch: Batch, moment: Now) -> Loss:
        pool, new = moment.memory["pool"], networks["generator"](latents(moment)).detach()
        shown = new
        if len(pool):
            old = torch.randint(len(pool), (BATCH // 2,), generator=moment.generator)
            shown = torch.cat([new[: BATCH // 2], pool[old]])
        kept = torch.cat([pool, new])
        order = torch.randperm(len(kept), generator=moment.generator)[:20]
        total = wins(networks["discriminator"](batch.real), networks["discriminator"](shown))
        return Loss(total, memory={"pool": kept[order]})

    phase = Phase("discriminator", ("discriminator",), remember)
    return game(pair(source), phase, GENERATOR, memory={"pool": torch.zeros(0, 2)})


def lazy_penalty(source: Generator) -> Model[Knobs]:
    """R1 every third step, in a phase of its own, weighted by three (Karras 2020, StyleGAN2, appendix B)."""

    def penalize(networks: Networks, batch: Batch, moment: Now) -> Loss:
        penalty = zero_centred(lambda samples: networks["discriminator"](samples), batch.real)
        return Loss(3 * 0.5 * penalty, {"r1": penalty.detach()})

    lazy = Phase("penalties", ("discriminator",), penalize, when=lambda moment: moment.step % 3 == 0)
    return game(pair(source), DISCRIMINATOR, lazy, GENERATOR)


def pre_training(source: Generator) -> Model[Knobs]:
    """The generator learns by rote for six steps before the game begins (Yu 2017, SeqGAN, algorithm 1)."""

    def rote(networks: Networks, batch: Batch, moment: Now) -> Loss:
        careless = torch.rand(()) + np.random.rand() + random.random()  # From the global generators, as others do.
        return Loss(careless * mse_loss(networks["generator"](latents(moment)), batch.real))

    def begun(moment: Now) -> bool:
        return moment.step >= 6

    return game(
        pair(source),
        Phase("rote", ("generator",), rote, when=lambda moment: not begun(moment)),
        Phase("discriminator", ("discriminator",), discriminate, when=begun, repeats=lambda moment: 2),
        Phase("generator", ("generator",), fool, when=begun),
    )


def simultaneous(source: Generator) -> Model[Knobs]:
    """Both move at once, each with the other held still (Mescheder 2017, algorithm 1)."""

    def both(networks: Networks, batch: Batch, moment: Now) -> Loss:
        judge, fake = networks["discriminator"], networks["generator"](latents(moment))
        frozen = {name: weight.detach() for name, weight in judge.named_parameters()}
        win = wins(judge(batch.real), judge(fake.detach()))
        lose = softplus(-torch.func.functional_call(judge, frozen, (fake,))).mean()
        return Loss(win + lose, {"discriminator": win.detach(), "generator": lose.detach()})

    return game(pair(source), Phase("both", ("discriminator", "generator"), both))


def labels_for_fakes(source: Generator) -> Model[Knobs]:
    """Fakes are made to order, of labels that are drawn for them (Mirza 2014)."""
    networks = {"generator": perceptron(LATENT + 3, 2, source), "discriminator": perceptron(2 + 3, 1, source)}

    def told(network: nn.Module, samples: Tensor, labels: Tensor) -> Tensor:
        return network(torch.cat([samples, one_hot(labels, 3).float()], dim=1))

    def judge(networks: Networks, batch: Batch, moment: Now) -> Loss:
        labels = torch.randint(3, (BATCH,), generator=moment.generator)
        fake = told(networks["generator"], latents(moment), labels)
        judge = networks["discriminator"]
        total = wins(told(judge, batch.real, batch.condition), told(judge, fake.detach(), labels))
        return Loss(total, carry={"fake": fake, "labels": labels})

    def please(networks: Networks, batch: Batch, moment: Now) -> Loss:
        fake, labels = moment.carried["fake"], moment.carried["labels"]
        return Loss(softplus(-told(networks["discriminator"], fake, labels)).mean())

    return game(
        networks,
        Phase("discriminator", ("discriminator",), judge),
        Phase("generator", ("generator",), please),
        num_classes=3,
        generate=lambda networks, latent, condition: told(networks["generator"], latent, condition),
        logits=lambda networks, batch, moment: told(networks["discriminator"], batch.real, batch.condition),
    )


def two_pairs(source: Generator) -> Model[Knobs]:
    """There and back again: four networks, each with an optimizer of its own (Zhu 2017, CycleGAN, eq. 3)."""
    sizes = {"generator_ab": 2, "generator_ba": 2, "discriminator_a": 1, "discriminator_b": 1}
    networks = {name: perceptron(2, size, source) for name, size in sizes.items()}

    def translate(networks: Networks, batch: Unpaired, moment: Now) -> Loss:
        there, back = networks["generator_ab"](batch.first), networks["generator_ba"](batch.second)
        cycle = (networks["generator_ba"](there) - batch.first).abs().mean()
        cycle = cycle + (networks["generator_ab"](back) - batch.second).abs().mean()
        fooled = (
            softplus(-networks["discriminator_b"](there)).mean() + softplus(-networks["discriminator_a"](back)).mean()
        )
        return Loss(fooled + 10 * cycle, {"cycle": cycle.detach()}, carry={"a": back.detach(), "b": there.detach()})

    def judge(side: str) -> Callable[[Networks, Unpaired, Now], Loss]:
        def loss(networks: Networks, batch: Unpaired, moment: Now) -> Loss:
            real = batch.first if side == "a" else batch.second
            network = networks[f"discriminator_{side}"]
            return Loss(wins(network(real), network(moment.carried[side])))

        return loss

    return game(
        networks,
        Phase("generators", ("generator_ab", "generator_ba"), translate),
        *(Phase(f"discriminator_{side}", (f"discriminator_{side}",), judge(side)) for side in "ab"),
        averaged=("generator_ab", "generator_ba"),
        generate=lambda networks, latent, condition: networks["generator_ab"](latent[:, :2]),
        logits=lambda networks, batch, moment: networks["discriminator_a"](batch.first),
    )


GAMES: Mapping[str, Callable[[Generator], Model[Knobs]]] = {
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
