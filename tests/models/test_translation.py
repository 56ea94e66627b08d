"""pix2pix and CycleGAN: losses compared with independent computations, updates of each phase, unsupported data."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss

from equipoise.core import catalog
from equipoise.core.data import DataSpec, PairedBatch, UnpairedBatch
from equipoise.core.model import Loss, Model, StepRecord
from equipoise.core.sampling import DEFAULT_SAMPLING
from equipoise.errors import SettingError
from equipoise.losses.adversarial import LOSSES
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

BATCH, SIZE = 4, 16
SPEC = DataSpec((3, SIZE, SIZE), flips=True, source=(1, SIZE, SIZE), paired=("train", "held_out"))
SMALL: dict[str, dict[str, Any]] = {
    "pix2pix": {"width": 2, "patch": 16, "norm": "instance", "dropout": 0.0},
    "cyclegan": {"width": 2, "patch": 16, "blocks": 1, "pool": 6},
}
BOTH = pytest.mark.parametrize("name", SMALL)


def pairs(index: int, channels: tuple[int, int] = (1, 3)) -> PairedBatch:
    """Return random pairs, determined by the index."""
    generator = torch.Generator().manual_seed(index)
    source, real = (torch.rand(BATCH, count, SIZE, SIZE, generator=generator) * 2 - 1 for count in channels)
    return PairedBatch(real, source=source)


def to_colour(images: Tensor) -> Tensor:
    """Grey images (B, 1, H, W) -> (B, 3, H, W), the input of generators if one domain is in colour."""
    return images.expand(-1, 3, -1, -1)


@dataclasses.dataclass
class Trainer:
    """A model and its training state. Knobs have the defaults of the model unless they are arguments."""

    model: Model[Any]
    state: TrainingState

    def batch(self, index: int) -> PairedBatch:
        return pairs(index)

    def step(self, **knobs: float) -> StepRecord:
        return run_step(self.state, self, self.model.knobs.with_values(knobs), 0.0)

    def loss(self, phase: str, batch: UnpairedBatch, carried: dict[str, Tensor] | None = None, **knobs: float) -> Loss:
        """Compute the loss of a phase; weights and the random generator are not changed."""
        random_state = self.state.generator.get_state()
        (selected,) = (each for each in self.model.phases if each.name == phase)
        moment = self.state.moment(self.model.knobs.with_values(knobs), 0.0)
        loss = selected.loss(self.model.networks, batch, dataclasses.replace(moment, carried=carried or {}))
        self.state.generator.set_state(random_state)
        return loss

    def bits(self, network: str) -> list[bytes]:
        return [weight.detach().numpy().tobytes() for weight in self.model.networks[network].parameters()]


def create_trainer(name: str, spec: DataSpec = SPEC, seed: int = 0, **options: Any) -> Trainer:
    recipe = catalog.build("models", name, {**SMALL[name], **options})
    model = recipe.build(spec, torch.Generator().manual_seed(seed))
    return Trainer(
        model, initial_state(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed))
    )


def logits_of(network: nn.Module, *parts: Tensor) -> Tensor:
    return network(torch.cat(parts, dim=1))


def cross_entropy(logits: Tensor, label: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def test_pix2pix_losses_equal_the_equations() -> None:
    """Isola 2017, equations 1, 3 and 4 with section 3.3, by torch's losses."""
    trainer, batch = create_trainer("pix2pix"), pairs(3)
    network, d = trainer.model.networks["generator"], trainer.model.networks["discriminator"]
    fake = network(batch.source)
    real_logit, fake_logit = logits_of(d, batch.source, batch.real), logits_of(d, batch.source, fake)
    discriminator, generator = trainer.loss("discriminator", batch), trainer.loss("generator", batch)
    torch.testing.assert_close(discriminator.total, (cross_entropy(real_logit, 1) + cross_entropy(fake_logit, 0)) / 2)
    torch.testing.assert_close(discriminator.terms["adversarial"], 2 * discriminator.total.detach())
    torch.testing.assert_close(generator.total, cross_entropy(fake_logit, 1) + 100 * l1_loss(fake, batch.real))
    torch.testing.assert_close(discriminator.logit_real, real_logit.mean(dim=(1, 2, 3)))
    torch.testing.assert_close(discriminator.logit_fake, fake_logit.mean(dim=(1, 2, 3)))


def test_term_weights_are_knobs() -> None:
    trainer, batch = create_trainer("pix2pix"), pairs(3)
    adversarial, l1 = (trainer.loss("generator", batch).terms[name] for name in ("adversarial", "l1"))
    result = trainer.loss("generator", batch, adversarial_weight=0.5, l1_weight=30).total
    torch.testing.assert_close(result.detach(), 0.5 * adversarial + 30 * l1)


def test_zero_adversarial_weight_trains_the_generator_only() -> None:
    trainer = create_trainer("pix2pix")
    d, network = trainer.bits("discriminator"), trainer.bits("generator")
    record = trainer.step(adversarial_weight=0)
    assert set(record.phases) == {"generator"}
    assert set(record.phases["generator"].terms) == {"l1"}
    assert trainer.bits("discriminator") == d
    assert trainer.bits("generator") != network
    record = trainer.step()
    assert set(record.phases) == {"discriminator", "generator"}
    assert trainer.bits("discriminator") != d


def test_pix2pix_phases_share_the_fakes_of_a_step() -> None:
    """With dropout, a second pass would give different fakes."""
    trainer, batch = create_trainer("pix2pix", dropout=0.5), pairs(0)
    carried = dict(trainer.loss("discriminator", batch).carry)
    shared = trainer.loss("generator", batch, carried)
    torch.testing.assert_close(shared.terms["l1"], l1_loss(carried["fake"], batch.real).detach())
    trainer.model.networks["generator"].requires_grad_(True)
    (gradient, *_) = torch.autograd.grad(shared.total, list(trainer.model.networks["generator"].parameters()))
    assert gradient.abs().sum() > 0


def test_pix2pix_augments_input_and_sample_equally() -> None:
    """A sample equal to its input in all channels still is after augmentation."""
    trainer, inputs = create_trainer("pix2pix"), []
    trainer.model.networks["discriminator"].register_forward_hook(lambda module, args, output: inputs.append(args[0]))
    source = pairs(0).source
    trainer.loss("discriminator", PairedBatch(source.expand(-1, 3, -1, -1), source=source), augment_p=0.8)
    real = inputs[0][:BATCH]
    assert torch.equal(real[:, :1].expand(-1, 3, -1, -1), real[:, 1:])
    assert not torch.equal(real[:, :1], source)


@pytest.mark.parametrize("identity", [0.0, 5.0])
def test_running_statistics_are_of_translated_images_only(identity: float) -> None:
    """Not of cycles or of the identity term, whose inputs do not occur in inference."""
    trainer = create_trainer("cyclegan", body="unet", norm="batch")
    other = create_trainer("cyclegan", body="unet", norm="batch")  # same seed, same weights
    batch = trainer.batch(0)
    trainer.step(identity_weight=identity)
    for name, images in (("generator", to_colour(batch.source)), ("generator_back", batch.real)):
        network = other.model.networks[name].train()
        network(images)
        result, expected = (dict(each.model.networks[name].named_buffers()) for each in (trainer, other))
        for key in (key for key in expected if "running" in key):
            torch.testing.assert_close(result[key], expected[key])


def test_cyclegan_losses_equal_the_equations() -> None:
    """Zhu 2017, equations 2 and 3 with the squares of section 4 and the identity of 5.2, by torch's losses."""
    trainer, batch = create_trainer("cyclegan"), pairs(3)
    g, f, d, d_back = (
        trainer.model.networks[name] for name in ("generator", "generator_back", "discriminator", "discriminator_back")
    )
    x, y = batch.source, batch.real
    fake_y, fake_x = g(to_colour(x)), f(y)

    def squares(logits: Tensor, label: float) -> Tensor:
        return mse_loss(logits, torch.full_like(logits, label))

    adversarial = squares(d(fake_y), 1) + squares(d_back(fake_x), 1)
    cycle, cycle_back = l1_loss(f(fake_y), x), l1_loss(g(to_colour(fake_x)), y)
    identity = l1_loss(g(y), y) + l1_loss(f(to_colour(x)), x)
    result = trainer.loss("generator", batch)
    torch.testing.assert_close(result.total, adversarial + 10 * (cycle + cycle_back + identity / 2))
    torch.testing.assert_close(result.terms["cycle"], cycle.detach())
    weighted = trainer.loss("generator", batch, cycle_weight=3, cycle_back_weight=1).total
    torch.testing.assert_close(weighted, adversarial + 3 * cycle + cycle_back + 5 * identity)
    result = trainer.loss("discriminator", batch, {"fake_y": fake_y.detach(), "fake_x": fake_x.detach()})
    forward = (squares(d(y), 1) + squares(d(fake_y), 0)) / 2
    backward = (squares(d_back(x), 1) + squares(d_back(fake_x), 0)) / 2
    torch.testing.assert_close(result.total, forward + backward)


def test_fakes_have_the_channels_of_their_domain() -> None:
    trainer, batch = create_trainer("cyclegan"), pairs(3)
    result = trainer.loss("generator", batch)
    assert {name: tuple(images.shape) for name, images in result.carry.items()} == {
        "fake_y": (BATCH, 3, SIZE, SIZE),
        "fake_x": (BATCH, 1, SIZE, SIZE),
    }
    assert trainer.model.networks["discriminator_back"](result.carry["fake_x"]).shape[0] == BATCH


def test_cyclegan_losses_do_not_depend_on_pairing() -> None:
    trainer, batch = create_trainer("cyclegan"), pairs(5)
    other = UnpairedBatch(batch.real, source=batch.source.flip(0))
    for phase in ("generator", "discriminator"):
        first, second = (trainer.loss(phase, each).total for each in (batch, other))
        torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-5)
    paired = create_trainer("pix2pix")
    unpaired = paired.loss("generator", PairedBatch(other.real, source=other.source)).total
    assert (paired.loss("generator", batch).total - unpaired).abs() > 1e-3, "pix2pix does"


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_identity_term_of_weight_0_is_not_computed(norm: str) -> None:
    trainer, counts = create_trainer("cyclegan", norm=norm), []
    for name in ("generator", "generator_back"):
        trainer.model.networks[name].register_forward_hook(lambda module, args, output: counts.append(len(output)))
    assert "identity" in trainer.loss("generator", pairs(0)).terms
    assert sum(counts) == 6 * BATCH
    counts.clear()
    assert "identity" not in trainer.loss("generator", pairs(0), identity_weight=0).terms
    assert sum(counts) == 4 * BATCH


@BOTH
def test_reals_and_fakes_share_a_batch_unless_batch_normalised(name: str) -> None:
    """Logits of a joint batch equal those of separate batches if images are processed independently."""
    trainer, batch = create_trainer(name), pairs(2)
    adversarial = next(phase.loss.__self__ for phase in trainer.model.phases).adversarial
    d = trainer.model.networks["discriminator"]
    images = batch.real if name == "cyclegan" else torch.cat([batch.source, batch.real], dim=1)
    moment = trainer.state.moment(trainer.model.knobs, 0.0)
    assert adversarial.is_per_sample
    joint = adversarial.real_and_fake_logits(d, images, -images, moment)
    for logits, expected in zip(joint, (d(images), d(-images)), strict=True):
        torch.testing.assert_close(logits, expected, atol=1e-6, rtol=1e-5)
    assert not next(
        phase.loss.__self__ for phase in create_trainer(name, discriminator_norm="batch").model.phases
    ).adversarial.is_per_sample


def test_each_phase_updates_its_own_networks() -> None:
    trainer = create_trainer("cyclegan")
    before = {name: trainer.bits(name) for name in trainer.model.networks}
    record = trainer.step()
    assert all(trainer.bits(name) != bits for name, bits in before.items())
    norms = {phase: set(result.gradient_norms) for phase, result in record.phases.items()}
    assert norms == {
        "generator": {"generator", "generator_back"},
        "discriminator": {"discriminator", "discriminator_back"},
    }


def test_pools_fill_and_contain_earlier_fakes() -> None:
    trainer, sizes = create_trainer("cyclegan"), []
    for _ in range(4):
        trainer.step()
        sizes.append([len(trainer.state.memory[name]) for name in ("pool", "pool_back")])
    assert sizes == [[4, 4], [6, 6], [6, 6], [6, 6]]
    assert trainer.state.memory["pool"].dtype == torch.float32
    current = trainer.model.networks["generator"](to_colour(trainer.batch(3).source))
    assert (trainer.state.memory["pool"][:, None] - current[None]).flatten(2).abs().amax(2).amin(1).max() > 0


@BOTH
def test_repeated_updates_use_new_batches(name: str) -> None:
    once, more = create_trainer(name), create_trainer(name)
    once.step()
    more.step(generator_steps=2, discriminator_steps=2)
    assert more.state.draws == 2
    assert once.bits("generator") != more.bits("generator")
    assert once.bits("discriminator") != more.bits("discriminator")


@pytest.mark.parametrize("steps", [1, 2])
def test_generator_uses_matching_pairs_with_more_discriminator_steps(steps: int) -> None:
    trainer, batch = create_trainer("pix2pix"), pairs(0)
    expected = l1_loss(trainer.model.networks["generator"](batch.source), batch.real).detach()
    record = trainer.step(discriminator_steps=steps)
    torch.testing.assert_close(record.phases["generator"].terms["l1"], expected)


@BOTH
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("knobs", [{}, {"augment_p": 0.5, "instance_noise": 0.1, "r1_gamma": 1.0}])
def test_every_loss_trains_with_every_knob(name: str, loss: str, knobs: dict[str, float]) -> None:
    trainer = create_trainer(name, loss=loss)
    smooth = {"real_label_low": 0.8, "fake_label_high": 0.2} if "real_label_low" in trainer.model.turnable else {}
    record = trainer.step(**knobs, **smooth)
    assert not record.non_finite
    assert ("r1" in record.phases["discriminator"].terms) == bool(knobs)
    assert all(result.logit_fake.shape == (BATCH,) for result in record.phases.values())


@BOTH
def test_r1_is_the_gradient_with_respect_to_the_sample(name: str) -> None:
    trainer, batch = create_trainer(name), pairs(1)
    real = batch.real.clone().requires_grad_()
    d = trainer.model.networks["discriminator"]
    inputs = torch.cat([batch.source, real], dim=1) if name == "pix2pix" else real
    (gradient,) = torch.autograd.grad(d(inputs).mean(dim=(1, 2, 3)).sum(), real)
    expected = gradient.square().sum() / BATCH / 2
    if name == "cyclegan":
        source = batch.source.clone().requires_grad_()
        back = trainer.model.networks["discriminator_back"](source).mean(dim=(1, 2, 3)).sum()
        expected = expected + torch.autograd.grad(back, source)[0].square().sum() / BATCH / 2
    torch.testing.assert_close(trainer.loss("discriminator", batch, r1_gamma=1.0).terms["r1"], expected)


@BOTH
def test_bf16_losses_are_float32_and_close(name: str) -> None:
    full, half = create_trainer(name), create_trainer(name)
    half.state.precision = "bf16"
    for _ in range(2):
        expected, record = full.step(), half.step()
    assert not record.non_finite
    for phase, result in record.phases.items():
        assert result.total.dtype == torch.float32
        assert result.total.item() == pytest.approx(expected.phases[phase].total.item(), rel=0.05)


@pytest.mark.parametrize(("source", "target"), [(1, 3), (3, 1), (3, 3), (1, 1)])
@BOTH
def test_inputs_and_samples_can_have_different_channels(name: str, source: int, target: int) -> None:
    spec = DataSpec((target, SIZE, SIZE), source=(source, SIZE, SIZE), paired=("train",))
    model = create_trainer(name, spec).model
    batch = pairs(0, (source, target))
    images = model.generate(
        model.networks, model.latent(BATCH, torch.Generator(), None), batch.source, DEFAULT_SAMPLING
    )
    assert images.shape == batch.real.shape
    assert images.abs().max() <= 1
    if model.reverse is not None:
        assert model.reverse(model.networks, batch.real).shape == batch.source.shape


def test_initial_weights_follow_the_papers() -> None:
    """N(0, 0.02): Isola 2017, section 6.2; Zhu 2017, section 4. Adam at 2e-4 with beta1 0.5 in both."""
    spec = DataSpec((3, 32, 32), source=(3, 32, 32), paired=("train",))
    for name in SMALL:
        model = catalog.build("models", name, {"patch": 16}).build(spec, torch.Generator().manual_seed(0))
        weights = [m.weight.flatten() for m in model.networks["generator"].modules() if isinstance(m, nn.Conv2d)]
        values = torch.cat(weights)
        assert values.std().item() == pytest.approx(0.02, rel=0.01)
        assert (model.knobs.lr_g, model.knobs.lr_d, model.knobs.beta1, model.knobs.beta2) == (2e-4, 2e-4, 0.5, 0.999)


@pytest.mark.parametrize(
    ("name", "spec", "message"),
    [
        ("pix2pix", DataSpec((3, 32, 32)), "has no input images; .*--data paired_folder"),
        ("cyclegan", DataSpec((2,)), "has no input images"),
        ("pix2pix", DataSpec((3, 32, 32), source=(3, 32, 32)), "unpaired; use --model cyclegan"),
        ("pix2pix", DataSpec((3, 32, 32), source=(3, 32, 32), paired=("held_out",)), "use --model cyclegan"),
        ("cyclegan", DataSpec((3, 32, 32), source=(3, 64, 64)), "images of the same size"),
        (
            "pix2pix",
            DataSpec((3, 48, 48), source=(3, 48, 48), paired=("train",)),
            "32, 64, 128, 256, 512 pixels, not 48 x 48",
        ),
        (
            "cyclegan",
            DataSpec((3, 16, 16), source=(3, 16, 16)),
            "32, 64, 128, 256, 512 pixels, not 16 x 16; use --image-size",
        ),
        ("cyclegan", DataSpec((4, 32, 32), source=(3, 32, 32)), "grey and colour images, not 3 and 4 channels"),
    ],
)
def test_unsupported_data_raise(name: str, spec: DataSpec, message: str) -> None:
    with pytest.raises(SettingError, match=message) as error:
        catalog.build("models", name).build(spec, torch.Generator().manual_seed(0))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pix2pix", {"width": 0}, "width = 0: it must be at least 1"),
        ("pix2pix", {"dropout": 1.0}, "dropout = 1: it must be from 0 to below 1"),
        ("cyclegan", {"blocks": 0}, "blocks = 0: it must be at least 1"),
        ("cyclegan", {"pool": -1}, "pool = -1: it must be at least 0"),
        ("cyclegan", {"patch": "50"}, "patch = 50: it must be one of 16, 34, 70"),
    ],
)
def test_invalid_options_raise(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        catalog.build("models", name, options)
