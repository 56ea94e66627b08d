"""pix2pix and CycleGAN: their losses by a second derivation, what moves when, what they learn from and refuse."""

import dataclasses
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, l1_loss, mse_loss

from equipoise.core import catalog
from equipoise.core.data import DataSpec, PairedBatch, UnpairedBatch
from equipoise.core.model import Loss, Model
from equipoise.core.records import StepRecord
from equipoise.errors import SettingError
from equipoise.training.state import TrainingState, begin
from equipoise.training.step import run_step

BATCH, SIZE = 4, 16
SPEC = DataSpec((3, SIZE, SIZE), flips=True, source=(1, SIZE, SIZE), paired=("train", "held_out"))
SMALL: dict[str, dict[str, Any]] = {
    "pix2pix": {"width": 2, "patch": 16, "norm": "instance", "dropout": 0.0},
    "cyclegan": {"width": 2, "patch": 16, "blocks": 1, "pool": 6},
}
BOTH = pytest.mark.parametrize("name", SMALL)


def drawn(index: int, channels: tuple[int, int] = (1, 3)) -> PairedBatch:
    """Random pairs: the number decides and nothing else."""
    generator = torch.Generator().manual_seed(index)
    source, real = (torch.rand(BATCH, count, SIZE, SIZE, generator=generator) * 2 - 1 for count in channels)
    return PairedBatch(real, source=source)


def coloured(images: Tensor) -> Tensor:
    """Grey images (B, 1, H, W) -> (B, 3, H, W), as generators of a game with a side in colour take them."""
    return images.expand(-1, 3, -1, -1)


@dataclasses.dataclass
class Table:
    """A game set up; knobs stand where the GAN says unless they are named."""

    model: Model[Any]
    state: TrainingState

    def batch(self, index: int) -> PairedBatch:
        return drawn(index)

    def step(self, **knobs: float) -> StepRecord:
        return run_step(self.state, self, self.model.knobs.with_values(knobs), 0.0)

    def loss(self, phase: str, batch: UnpairedBatch, carried: dict[str, Tensor] | None = None, **knobs: float) -> Loss:
        """What a phase says; nothing is moved, and random numbers begin at the same place each time."""
        kept = self.state.generator.get_state()
        (result,) = (each for each in self.model.phases if each.name == phase)
        moment = self.state.moment(self.model.knobs.with_values(knobs), 0.0)
        loss = result.loss(self.model.networks, batch, dataclasses.replace(moment, carried=carried or {}))
        self.state.generator.set_state(kept)
        return loss

    def bits(self, network: str) -> list[bytes]:
        return [weight.detach().numpy().tobytes() for weight in self.model.networks[network].parameters()]


def deal(name: str, spec: DataSpec = SPEC, seed: int = 0, **options: Any) -> Table:
    recipe = catalog.build("models", name, {**SMALL[name], **options})
    model = recipe.build(spec, torch.Generator().manual_seed(seed))
    return Table(model, begin(model, model.knobs, torch.device("cpu"), "fp32", torch.Generator().manual_seed(seed)))


def judged(network: nn.Module, *parts: Tensor) -> Tensor:
    return network(torch.cat(parts, dim=1))


def against(logits: Tensor, label: float) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


def test_pix2pix_pays_what_the_paper_writes() -> None:
    """Isola 2017, equations 1, 3 and 4 with section 3.3, by torch's own losses."""
    table, batch = deal("pix2pix"), drawn(3)
    network, judge = table.model.networks["generator"], table.model.networks["discriminator"]
    fake = network(batch.source)
    real_logit, fake_logit = judged(judge, batch.source, batch.real), judged(judge, batch.source, fake)
    discriminator, generator = table.loss("discriminator", batch), table.loss("generator", batch)
    torch.testing.assert_close(discriminator.total, (against(real_logit, 1) + against(fake_logit, 0)) / 2)
    torch.testing.assert_close(discriminator.terms["adversarial"], 2 * discriminator.total.detach())
    torch.testing.assert_close(generator.total, against(fake_logit, 1) + 100 * l1_loss(fake, batch.real))
    torch.testing.assert_close(discriminator.logit_real, real_logit.mean(dim=(1, 2, 3)))
    torch.testing.assert_close(discriminator.logit_fake, fake_logit.mean(dim=(1, 2, 3)))


def test_the_weights_of_both_terms_are_knobs() -> None:
    table, batch = deal("pix2pix"), drawn(3)
    game, pixels = (table.loss("generator", batch).terms[name] for name in ("adversarial", "l1"))
    told = table.loss("generator", batch, adversarial_weight=0.5, l1_weight=30).total
    torch.testing.assert_close(told.detach(), 0.5 * game + 30 * pixels)


def test_l1_alone_is_a_regression_without_a_game() -> None:
    table = deal("pix2pix")
    judge, network = table.bits("discriminator"), table.bits("generator")
    record = table.step(adversarial_weight=0)
    assert set(record.phases) == {"generator"}
    assert set(record.phases["generator"].terms) == {"l1"}
    assert table.bits("discriminator") == judge
    assert table.bits("generator") != network
    record = table.step()
    assert set(record.phases) == {"discriminator", "generator"}
    assert table.bits("discriminator") != judge


def test_both_players_of_pix2pix_share_the_fakes_of_a_step() -> None:
    """Dropout would draw others the second time."""
    table, batch = deal("pix2pix", dropout=0.5), drawn(0)
    carried = dict(table.loss("discriminator", batch).carry)
    shared = table.loss("generator", batch, carried)
    torch.testing.assert_close(shared.terms["l1"], l1_loss(carried["fake"], batch.real).detach())
    table.model.networks["generator"].requires_grad_(True)
    (gradient, *_) = torch.autograd.grad(shared.total, list(table.model.networks["generator"].parameters()))
    assert gradient.abs().sum() > 0


def test_the_discriminator_of_pix2pix_sees_input_and_sample_changed_alike() -> None:
    """Where the sample is the input, in all three channels, it still is after augmentation."""
    table, shown = deal("pix2pix"), []
    table.model.networks["discriminator"].register_forward_hook(lambda module, given, made: shown.append(given[0]))
    source = drawn(0).source
    table.loss("discriminator", PairedBatch(source.expand(-1, 3, -1, -1), source=source), augment_p=0.8)
    real = shown[0][:BATCH]
    assert torch.equal(real[:, :1].expand(-1, 3, -1, -1), real[:, 1:])
    assert not torch.equal(real[:, :1], source)


@pytest.mark.parametrize("identity", [0.0, 5.0])
def test_running_statistics_of_a_generator_are_of_what_it_translates(identity: float) -> None:
    """Not of the other side, which it sees in a cycle and by the identity term, and in training alone."""
    table = deal("cyclegan", body="unet", norm="batch")
    other = deal("cyclegan", body="unet", norm="batch")  # of the same seed, so of the same weights
    batch = table.batch(0)
    table.step(identity_weight=identity)
    for name, images in (("generator", coloured(batch.source)), ("generator_back", batch.real)):
        alone = other.model.networks[name].train()
        alone(images)
        result, expected = (dict(game.model.networks[name].named_buffers()) for game in (table, other))
        for key in (key for key in expected if "running" in key):
            torch.testing.assert_close(result[key], expected[key])


def test_cyclegan_pays_what_the_paper_writes() -> None:
    """Zhu 2017, equations 2 and 3 with the squares of section 4 and the identity of 5.2, by torch's own losses."""
    table, batch = deal("cyclegan"), drawn(3)
    there, back, judge, judge_back = (
        table.model.networks[name] for name in ("generator", "generator_back", "discriminator", "discriminator_back")
    )
    x, y = batch.source, batch.real
    fake_y, fake_x = there(coloured(x)), back(y)

    def squares(logits: Tensor, label: float) -> Tensor:
        return mse_loss(logits, torch.full_like(logits, label))

    game = squares(judge(fake_y), 1) + squares(judge_back(fake_x), 1)
    cycle, cycle_back = l1_loss(back(fake_y), x), l1_loss(there(coloured(fake_x)), y)
    identity = l1_loss(there(y), y) + l1_loss(back(coloured(x)), x)
    told = table.loss("generator", batch)
    torch.testing.assert_close(told.total, game + 10 * (cycle + cycle_back + identity / 2))
    torch.testing.assert_close(told.terms["cycle"], cycle.detach())
    apart = table.loss("generator", batch, cycle_weight=3, cycle_back_weight=1).total
    torch.testing.assert_close(apart, game + 3 * cycle + cycle_back + 5 * identity)
    told = table.loss("discriminator", batch, {"fake_y": fake_y.detach(), "fake_x": fake_x.detach()})
    forward = (squares(judge(y), 1) + squares(judge(fake_y), 0)) / 2
    backward = (squares(judge_back(x), 1) + squares(judge_back(fake_x), 0)) / 2
    torch.testing.assert_close(told.total, forward + backward)


def test_no_colour_hides_in_grey_images_on_its_way_back() -> None:
    table, batch = deal("cyclegan"), drawn(3)
    told = table.loss("generator", batch)
    assert {name: tuple(made.shape) for name, made in told.carry.items()} == {
        "fake_y": (BATCH, 3, SIZE, SIZE),
        "fake_x": (BATCH, 1, SIZE, SIZE),
    }
    assert table.model.networks["discriminator_back"](told.carry["fake_x"]).shape[0] == BATCH


def test_cyclegan_learns_nothing_from_which_input_lies_beside_which_sample() -> None:
    table, batch = deal("cyclegan"), drawn(5)
    other = UnpairedBatch(batch.real, source=batch.source.flip(0))
    for phase in ("generator", "discriminator"):
        one, same = (table.loss(phase, each).total for each in (batch, other))
        torch.testing.assert_close(one, same, atol=1e-6, rtol=1e-5)
    paired = deal("pix2pix")
    apart = paired.loss("generator", PairedBatch(other.real, source=other.source)).total
    assert (paired.loss("generator", batch).total - apart).abs() > 1e-3, "unlike pix2pix"


@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_a_term_of_weight_0_is_not_computed(norm: str) -> None:
    table, made = deal("cyclegan", norm=norm), []
    for name in ("generator", "generator_back"):
        table.model.networks[name].register_forward_hook(lambda module, given, images: made.append(len(images)))
    assert "identity" in table.loss("generator", drawn(0)).terms
    assert sum(made) == 6 * BATCH
    made.clear()
    assert "identity" not in table.loss("generator", drawn(0), identity_weight=0).terms
    assert sum(made) == 4 * BATCH


@BOTH
def test_two_batches_in_one_are_two_where_images_do_not_see_each_other(name: str) -> None:
    """Each alone by batch normalisation's rule, and both at once by that of each image: here with the same networks."""
    table, batch = deal(name), drawn(2)
    court = next(phase.loss.__self__ for phase in table.model.phases).court
    judge = table.model.networks["discriminator"]
    shown = batch.real if name == "cyclegan" else torch.cat([batch.source, batch.real], dim=1)
    moment = table.state.moment(table.model.knobs, 0.0)
    assert court.together
    for mine, alone in zip(court.both(judge, shown, -shown, moment), (judge(shown), judge(-shown)), strict=True):
        torch.testing.assert_close(mine, alone, atol=1e-6, rtol=1e-5)
    assert not next(phase.loss.__self__ for phase in deal(name, discriminator_norm="batch").model.phases).court.together


def test_every_network_moves_and_each_phase_moves_its_own() -> None:
    table = deal("cyclegan")
    before = {name: table.bits(name) for name in table.model.networks}
    record = table.step()
    assert all(table.bits(name) != bits for name, bits in before.items())
    norms = {phase: set(result.gradient_norms) for phase, result in record.phases.items()}
    assert norms == {
        "generator": {"generator", "generator_back"},
        "discriminator": {"discriminator", "discriminator_back"},
    }


def test_the_pools_fill_and_stay_and_hold_fakes_of_earlier_steps() -> None:
    table, sizes = deal("cyclegan"), []
    for _ in range(4):
        table.step()
        sizes.append([len(table.state.memory[name]) for name in ("pool", "pool_back")])
    assert sizes == [[4, 4], [6, 6], [6, 6], [6, 6]]
    assert table.state.memory["pool"].dtype == torch.float32
    now = table.model.networks["generator"](coloured(table.batch(3).source))
    assert (table.state.memory["pool"][:, None] - now[None]).flatten(2).abs().amax(2).amin(1).max() > 0


@BOTH
def test_more_steps_of_a_player_are_fresh_updates(name: str) -> None:
    once, more = deal(name), deal(name)
    once.step()
    more.step(generator_steps=2, discriminator_steps=2)
    assert more.state.draws == 2
    assert once.bits("generator") != more.bits("generator")
    assert once.bits("discriminator") != more.bits("discriminator")


@pytest.mark.parametrize("steps", [1, 2])
def test_pairs_stay_pairs_when_the_discriminator_has_more_steps(steps: int) -> None:
    table, batch = deal("pix2pix"), drawn(0)
    expected = l1_loss(table.model.networks["generator"](batch.source), batch.real).detach()
    record = table.step(discriminator_steps=steps)
    torch.testing.assert_close(record.phases["generator"].terms["l1"], expected)


@BOTH
@pytest.mark.parametrize("loss", ["non_saturating", "least_squares", "hinge", "wasserstein", "relativistic"])
@pytest.mark.parametrize("knobs", [{}, {"augment_p": 0.5, "instance_noise": 0.1, "r1_gamma": 1.0}])
def test_every_loss_plays_with_every_knob(name: str, loss: str, knobs: dict[str, float]) -> None:
    table = deal(name, loss=loss)
    smooth = {"real_label_low": 0.8, "fake_label_high": 0.2} if "real_label_low" in table.model.turnable else {}
    record = table.step(**knobs, **smooth)
    assert not record.non_finite
    assert ("r1" in record.phases["discriminator"].terms) == bool(knobs)
    assert all(result.logit_fake.shape == (BATCH,) for result in record.phases.values())


@BOTH
def test_r1_is_the_gradient_at_the_sample_alone(name: str) -> None:
    table, batch = deal(name), drawn(1)
    real = batch.real.clone().requires_grad_()
    judge = table.model.networks["discriminator"]
    shown = torch.cat([batch.source, real], dim=1) if name == "pix2pix" else real
    (gradient,) = torch.autograd.grad(judge(shown).mean(dim=(1, 2, 3)).sum(), real)
    expected = gradient.square().sum() / BATCH / 2
    if name == "cyclegan":
        source = batch.source.clone().requires_grad_()
        back = table.model.networks["discriminator_back"](source).mean(dim=(1, 2, 3)).sum()
        expected = expected + torch.autograd.grad(back, source)[0].square().sum() / BATCH / 2
    torch.testing.assert_close(table.loss("discriminator", batch, r1_gamma=1.0).terms["r1"], expected)


@BOTH
def test_in_bf16_losses_stay_in_full_precision_and_near(name: str) -> None:
    full, half = deal(name), deal(name)
    half.state.precision = "bf16"
    for _ in range(2):
        one, other = full.step(), half.step()
    assert not other.non_finite
    for phase, result in other.phases.items():
        assert result.total.dtype == torch.float32
        assert result.total.item() == pytest.approx(one.phases[phase].total.item(), rel=0.05)


@pytest.mark.parametrize(("source", "target"), [(1, 3), (3, 1), (3, 3), (1, 1)])
@BOTH
def test_inputs_and_samples_may_have_other_channels(name: str, source: int, target: int) -> None:
    spec = DataSpec((target, SIZE, SIZE), source=(source, SIZE, SIZE), paired=("train",))
    model = deal(name, spec).model
    batch = drawn(0, (source, target))
    made = model.generate(model.networks, model.latent(BATCH, torch.Generator(), None), batch.source)
    assert made.shape == batch.real.shape
    assert made.abs().max() <= 1
    if model.back is not None:
        assert model.back(model.networks, batch.real).shape == batch.source.shape


def test_first_weights_are_those_of_the_papers() -> None:
    """N(0, 0.02): Isola 2017, section 6.2; Zhu 2017, section 4. Adam at 2e-4 with beta1 0.5 in both."""
    spec = DataSpec((3, 32, 32), source=(3, 32, 32), paired=("train",))
    for name in SMALL:
        model = catalog.build("models", name, {"patch": 16}).build(spec, torch.Generator().manual_seed(0))
        weights = [m.weight.flatten() for m in model.networks["generator"].modules() if isinstance(m, nn.Conv2d)]
        drawn = torch.cat(weights)
        assert drawn.std().item() == pytest.approx(0.02, rel=0.01)
        assert (model.knobs.lr_g, model.knobs.lr_d, model.knobs.beta1, model.knobs.beta2) == (2e-4, 2e-4, 0.5, 0.999)


@pytest.mark.parametrize(
    ("name", "spec", "line"),
    [
        ("pix2pix", DataSpec((3, 32, 32)), "this data has no inputs; give it a folder of both by --data paired_folder"),
        ("cyclegan", DataSpec((2,)), "this data has no inputs"),
        ("pix2pix", DataSpec((3, 32, 32), source=(3, 32, 32)), "belong to no sample; use --model cyclegan"),
        ("pix2pix", DataSpec((3, 32, 32), source=(3, 32, 32), paired=("held_out",)), "use --model cyclegan"),
        ("cyclegan", DataSpec((3, 32, 32), source=(3, 64, 64)), "makes images of images of the same size"),
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
def test_data_that_do_not_suit_are_told_in_one_line(name: str, spec: DataSpec, line: str) -> None:
    with pytest.raises(SettingError) as error:
        catalog.build("models", name).build(spec, torch.Generator().manual_seed(0))
    assert line in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "options", "line"),
    [
        ("pix2pix", {"width": 0}, "width = 0: it must be at least 1"),
        ("pix2pix", {"dropout": 1.0}, "dropout = 1: it must be from 0 to below 1"),
        ("cyclegan", {"blocks": 0}, "blocks = 0: it must be at least 1"),
        ("cyclegan", {"pool": -1}, "pool = -1: it must be at least 0"),
        ("cyclegan", {"patch": "50"}, "patch = 50: one logit sees 16, 34, 70 pixels a side"),
    ],
)
def test_options_that_cannot_be_are_refused(name: str, options: dict[str, Any], line: str) -> None:
    with pytest.raises(SettingError, match=line):
        catalog.build("models", name, options)
