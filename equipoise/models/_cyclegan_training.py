"""Training of CycleGAN: its knobs, the losses of both directions, and the pools of earlier fakes."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from equipoise.core.data import UnpairedBatch
from equipoise.core.knobs import AdversarialKnobs, knob
from equipoise.core.model import Loss, Moment, Networks, OptimizerSettings
from equipoise.errors import SettingError
from equipoise.losses.penalties import r1_penalty
from equipoise.models._translation import PatchAdversarialLoss, mean_logit
from equipoise.nn.layers import frozen_running_statistics
from equipoise.nn.pool import exchange_with_pool

GENERATORS = ("generator", "generator_back")
DISCRIMINATORS = ("discriminator", "discriminator_back")


@dataclass(frozen=True, slots=True)
class CycleGANKnobs(AdversarialKnobs):
    """Knobs of adversarial training, and the weights of the cycle and identity terms."""

    cycle_weight: float = knob(
        10, 1e-2, 1e3, "", "log", "weight of |F(G(x)) - x|, the cycle from inputs", can_be_off=True
    )
    cycle_back_weight: float = knob(
        10, 1e-2, 1e3, "", "log", "weight of |G(F(y)) - y|, the cycle from samples", can_be_off=True
    )
    identity_weight: float = knob(5, 1e-2, 1e3, "", "log", "weight of |G(y) - y| + |F(x) - x|", can_be_off=True)


@dataclass(frozen=True)
class CycleTraining:
    """The losses of all four networks.

    `generator_scale`: factor of the adversarial loss of the generators. `channels`: input channels of the generators;
    grey images are expanded to colour. Outputs have the channels of the target domain, so that grey images cannot
    encode colours for the translation back. `pool`: size of the pool of earlier fakes of each direction.
    `is_per_image`: whether generators process each image independently, without batch normalisation.
    """

    adversarial: PatchAdversarialLoss
    generator_scale: float
    channels: int
    pool: int
    is_per_image: bool

    def generator_loss(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Loss:
        """Compute L_G + L_F: adversarial and cycle terms, and the identity term if it is on."""
        knobs, x, y = moment.knobs, batch.source, batch.real
        g, f = networks["generator"], networks["generator_back"]
        (fake_y, same_y), (fake_x, same_x) = self._fake_and_same(g, x, y, knobs), self._fake_and_same(f, y, x, knobs)
        adversarial, logit = self.adversarial.generator(networks["discriminator"], fake_y, y, moment)
        adversarial_back, _ = self.adversarial.generator(networks["discriminator_back"], fake_x, x, moment)
        with frozen_running_statistics(g, f):
            cycle, cycle_back = l1_loss(self.translate(f, fake_y), x), l1_loss(self.translate(g, fake_x), y)
        # L = L_adv(G, D_Y) + L_adv(F, D_X) + λ_x |F(G(x)) - x| + λ_y |G(F(y)) - y| + λ_id (|G(y) - y| + |F(x) - x|)
        # Zhu 2017, eqs. 2 and 3, section 5.2.
        total = self.generator_scale * (adversarial + adversarial_back)
        total = total + knobs.cycle_weight * cycle + knobs.cycle_back_weight * cycle_back
        terms = {"adversarial": adversarial, "adversarial_back": adversarial_back}
        terms |= {"cycle": cycle, "cycle_back": cycle_back}
        if same_y is not None and same_x is not None:
            terms["identity"] = l1_loss(same_y, y) + l1_loss(same_x, x)
            total = total + knobs.identity_weight * terms["identity"]
        return Loss(
            total,
            {name: term.detach() for name, term in terms.items()},
            logit_fake=mean_logit(logit.detach()),
            carry={"fake_y": fake_y.detach(), "fake_x": fake_x.detach()},
        )

    def discriminator_loss(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Loss:
        """Compute L_D_Y + L_D_X on reals and on new and earlier fakes; R1 is added if it is on."""
        x, y = batch.source, batch.real
        fake_y, fake_x = moment.carried.get("fake_y"), moment.carried.get("fake_x")
        if fake_y is None or fake_x is None:
            with torch.no_grad():
                fake_y = self.translate(networks["generator"], x)
                fake_x = self.translate(networks["generator_back"], y)
        fake_y, pool = exchange_with_pool(moment.memory["pool"], fake_y, self.pool, moment.generator)
        fake_x, pool_back = exchange_with_pool(moment.memory["pool_back"], fake_x, self.pool, moment.generator)
        d_y, d_x = networks["discriminator"], networks["discriminator_back"]
        real_logit, fake_logit = self.adversarial.real_and_fake_logits(d_y, y, fake_y, moment)
        adversarial = self.adversarial.discriminator(real_logit, fake_logit, moment)
        logits_back = self.adversarial.real_and_fake_logits(d_x, x, fake_x, moment)
        adversarial_back = self.adversarial.discriminator(*logits_back, moment)
        terms = {"adversarial": adversarial.detach(), "adversarial_back": adversarial_back.detach()}
        # L = L_adv(D_Y(y), D_Y(G(x))) + L_adv(D_X(x), D_X(F(y))) + γ (R1(D_Y, y) + R1(D_X, x))
        # Zhu 2017, section 4; Mescheder 2018, eq. 9.
        total = adversarial + adversarial_back
        if gamma := moment.knobs.r1_gamma:
            r1 = _r1(d_y, y) + _r1(d_x, x)
            total, terms = total + gamma * r1, terms | {"r1": r1.detach()}
        return Loss(
            total,
            terms,
            logit_real=mean_logit(real_logit.detach()),
            logit_fake=mean_logit(fake_logit.detach()),
            memory={"pool": pool, "pool_back": pool_back},
        )

    def logits_of_reals(self, networks: Networks, batch: UnpairedBatch, moment: Moment[CycleGANKnobs]) -> Tensor:
        """Compute D_Y(y), (B,), of reals with the noise and augmentation of training."""
        return mean_logit(self.adversarial.logits(networks["discriminator"], batch.real, moment))

    def translate(self, network: nn.Module, images: Tensor | None) -> Tensor:
        """Pass images (B, C, H, W), grey or colour, through a generator: (B, C', H, W) float32."""
        if images is None:
            raise SettingError("cyclegan needs input images; use: equipoise translate RUN FOLDER")
        translated: Tensor = network(self._expand_channels(images)).float()
        return translated

    def _fake_and_same(
        self, network: nn.Module, images: Tensor, targets: Tensor, knobs: CycleGANKnobs
    ) -> tuple[Tensor, Tensor | None]:
        """Translate images, and images of the target domain for the identity term, None if that is off.

        Running statistics of batch normalisation are updated only when translating inputs, as in inference. When
        updated by all passes, generators copied their input in inference.
        """
        if not knobs.identity_weight:
            return self.translate(network, images), None
        if not self.is_per_image:
            fake = self.translate(network, images)
            with frozen_running_statistics(network):
                return fake, self.translate(network, targets)
        both = torch.cat([self._expand_channels(images), self._expand_channels(targets)])
        fake, same = self.translate(network, both).chunk(2)
        return fake, same

    def _expand_channels(self, images: Tensor) -> Tensor:
        return images.expand(-1, self.channels, -1, -1)


def _r1(network: nn.Module, real: Tensor) -> Tensor:
    return r1_penalty(lambda images: mean_logit(network(images)), real)


def cycle_optimizer_settings(network: str, moment: Moment[CycleGANKnobs]) -> OptimizerSettings:
    """Return Adam's settings (section 4 and the authors' code), the same for both directions."""
    knobs = moment.knobs
    return OptimizerSettings("adam", knobs.lr_g if network in GENERATORS else knobs.lr_d, knobs.beta1, knobs.beta2)
