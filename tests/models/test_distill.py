"""Distillation of an untrained or briefly trained diffusion model: what is exact about it."""

import dataclasses
from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from equipoise.core.data import Batch, DataSpec
from equipoise.core.model import Model
from equipoise.core.sampling import DEFAULT_SAMPLING, Sampling
from equipoise.core.teacher import Teacher
from equipoise.errors import SettingError, UnknownNameError
from equipoise.models._distillation import DistillationKnobs
from equipoise.models.distill import GUIDANCE, Distillation
from equipoise.nn.diffusion_samplers import karras_levels
from equipoise.nn.fake_score import FakeScore
from equipoise.training.probe import probe_logits
from equipoise.training.state import TrainingState, initial_state
from equipoise.training.step import run_step

SPEC = DataSpec((1, 8, 8), classes=3)
NARROW: Mapping[str, object] = {"width": 8, "multipliers": (1, 1), "attention": 0, "augment": False}
OBJECTIVES = ("matching", "identity", "consistency", "adversarial")

each_objective = pytest.mark.parametrize("objective", OBJECTIVES)


def build(teacher: str = "edm", **options: object) -> Model[DistillationKnobs]:
    """Build a small model whose networks have weights as after training: random ones, the same in all of them."""
    recipe = Distillation(teacher=Teacher(teacher, NARROW), **options)  # type: ignore[arg-type]
    model = recipe.build(SPEC, torch.Generator().manual_seed(0))
    source = torch.Generator().manual_seed(1)
    weights = {
        name: value + 0.05 * torch.randn(value.shape, generator=source)
        for name, value in model.networks["teacher"].state_dict().items()
    }
    for own in model.inherits:
        network, _, part = own.partition(".")
        model.networks[network].get_submodule(part).load_state_dict(weights)
    return model


def start(model: Model[DistillationKnobs], **knobs: float) -> TrainingState:
    values = model.knobs.with_values(knobs)
    state = initial_state(model, values, torch.device("cpu"), "fp32", torch.Generator().manual_seed(2))
    state.model = dataclasses.replace(model, knobs=values)
    return state


class Reals:
    """Batches of random images with labels."""

    def batch(self, index: int) -> Batch:
        source = torch.Generator().manual_seed(index)
        return Batch(torch.rand(6, 1, 8, 8, generator=source) * 2 - 1, torch.arange(6) % 3)


def run(state: TrainingState, steps: int = 1) -> list[object]:
    return [run_step(state, Reals(), state.model.knobs, 0.0) for _ in range(steps)]


def bytes_of(tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    return {name: value.detach().contiguous().numpy().tobytes() for name, value in tensors.items()}


def generate(model: Model[DistillationKnobs], count: int = 5, sampling: Sampling = DEFAULT_SAMPLING) -> Tensor:
    latent = model.latent(count, torch.Generator().manual_seed(4), None)
    with torch.no_grad():
        return model.generate(model.networks, latent, torch.arange(count) % 3, sampling)


@pytest.mark.parametrize("teacher", ["edm", "ddpm"])
@pytest.mark.parametrize("objective", ["matching", "identity", "adversarial"])
def test_student_starts_as_one_denoising_step_of_its_teacher(teacher: str, objective: str) -> None:
    """To the bit: x = D(2.5 z; 2.5)."""
    model = build(teacher, objective=objective)
    noise = model.latent(5, torch.Generator().manual_seed(4), None)
    with torch.no_grad():
        expected = model.networks["teacher"](2.5 * noise, torch.full((5,), 2.5), torch.arange(5) % 3)
    assert torch.equal(generate(model), expected.clamp(-1, 1))


def test_consistent_student_starts_as_a_step_to_the_lowest_level() -> None:
    """x = s/t x_t + (1 - s/t) D(x_t; t), t = 20, s = 0.002."""
    model = build(objective="consistency")
    noisy = 20 * model.latent(5, torch.Generator().manual_seed(4), None)
    with torch.no_grad():
        denoised = model.networks["teacher"](noisy, torch.full((5,), 20.0), torch.arange(5) % 3)
    expected = (1e-4 * noisy + (1 - 1e-4) * denoised).clamp(-1, 1)
    torch.testing.assert_close(generate(model), expected)


def test_several_steps_add_noise_and_denoise_again() -> None:
    model = build(steps=4)
    levels = karras_levels(5, 0.002, 2.5)[:4]
    noise = model.latent(5, torch.Generator().manual_seed(4), None).chunk(4, dim=1)
    x, labels = torch.zeros_like(noise[0]), torch.arange(5) % 3
    with torch.no_grad():
        for level, part in zip(levels, noise, strict=True):
            x = model.networks["teacher"](x + level * part, torch.full((5,), level), labels)
    assert torch.equal(generate(model), x.clamp(-1, 1))
    assert torch.equal(generate(model, sampling=Sampling(steps=4)), x.clamp(-1, 1))


def test_training_uses_each_number_of_steps_in_turn() -> None:
    """One draw per phase and step: 1, 2, 1, 2 evaluations of the student of a model with two steps."""
    model = build(steps=2, knobs={"discriminator_steps": 1})
    evaluations: list[bool] = []
    model.networks["generator"].register_forward_hook(lambda *_: evaluations.append(torch.is_grad_enabled()))
    state = start(model)
    for expected in ([False, True], [False, False, False, True]) * 2:
        evaluations.clear()
        (record,) = run(state)
        assert not record.non_finite
        assert evaluations == expected


def test_fewer_steps_are_possible_and_more_are_refused() -> None:
    model = build(steps=4)
    one, four = (generate(model, sampling=Sampling(steps=steps)) for steps in (1, 4))
    assert one.shape == four.shape == (5, 1, 8, 8)
    assert not torch.equal(one, four)
    with pytest.raises(SettingError, match=r"steps = 5: this student has learned to sample in 4; .*--option steps=5"):
        generate(model, sampling=Sampling(steps=5))


@each_objective
def test_teacher_is_frozen(objective: str) -> None:
    """In evaluation mode, without gradients, in no checkpoint, and with the same bytes after training."""
    state = start(build(objective=objective))
    teacher = state.model.networks["teacher"]
    before = bytes_of(teacher.state_dict())
    run(state, 3)
    assert bytes_of(teacher.state_dict()) == before
    assert not any(module.training for module in teacher.modules())
    assert not any(weight.requires_grad for weight in teacher.parameters())
    assert not any("teacher" in name for name in state.tensors())
    assert state.optimizers.keys() == {"generator", "discriminator"}


@each_objective
def test_every_update_changes_its_network_and_no_other(objective: str) -> None:
    state = start(build(objective=objective), discriminator_steps=1)
    for phase in state.model.phases:
        alone = dataclasses.replace(state.model, phases=(phase,))
        state.model = alone
        before = {name: bytes_of(network.state_dict()) for name, network in alone.networks.items()}
        run(state)
        changed = {name for name, network in alone.networks.items() if bytes_of(network.state_dict()) != before[name]}
        assert changed == set(phase.updates)
        state.model = dataclasses.replace(alone, phases=build(objective=objective).phases)


@pytest.mark.parametrize("objective", ["matching", "identity"])
def test_student_does_not_change_while_both_scores_agree(objective: str) -> None:
    """At the start the fake score is the teacher: without the adversarial term there is nothing to learn."""
    state = start(build(objective=objective, guidance=1.0), adversarial_weight=0)
    state.model = dataclasses.replace(state.model, phases=state.model.phases[1:])
    before = bytes_of(state.model.networks["generator"].state_dict())
    (record,) = run(state)
    assert record.phases["generator"].total.item() == 0.0
    assert record.phases["generator"].gradient_norms["generator"].item() < 1e-7  # rounding, for the score identity
    if objective == "matching":
        assert bytes_of(state.model.networks["generator"].state_dict()) == before


@each_objective
def test_weight_zero_leaves_only_the_other_term(objective: str) -> None:
    if objective != "adversarial":
        state = start(build(objective=objective), adversarial_weight=0, discriminator_steps=1)
        (record,) = run(state)
        student = record.phases["generator"]
        assert student.terms.keys() == {"matching"}
        torch.testing.assert_close(student.total, student.terms["matching"])
        assert student.logit_fake is None
    knobs = {} if objective == "adversarial" else {"matching_weight": 0.0}
    (record,) = run(start(build(objective=objective), adversarial_weight=0.5, **knobs))
    student = record.phases["generator"]
    assert student.terms.keys() == {"adversarial"}
    torch.testing.assert_close(student.total, 0.5 * student.terms["adversarial"])


def test_discriminator_of_weight_zero_is_not_computed() -> None:
    state = start(build(), head_weight=0, discriminator_steps=1)
    head = state.model.networks["discriminator"].head
    before = bytes_of(head.state_dict())
    (record,) = run(state)
    score, student = record.phases["discriminator"], record.phases["generator"]
    assert score.terms.keys() == {"denoising"}
    assert score.logit_real is score.logit_fake is None
    assert student.terms.keys() == {"matching"}
    assert bytes_of(head.state_dict()) == before
    assert probe_logits(state, [Reals().batch(0)], 0, state.model.knobs, 0.0) is None
    assert (
        probe_logits(start(build()), [Reals().batch(0)], 0, state.model.knobs.with_values({"head_weight": 0.1}), 0.0)
        is not None
    )


def test_consistency_alone_needs_no_discriminator() -> None:
    state = start(build(objective="consistency"), adversarial_weight=0)
    (record,) = run(state)
    assert record.phases.keys() == {"generator"}


def test_total_is_the_weighted_sum_of_the_terms() -> None:
    state = start(build(), matching_weight=2.0, adversarial_weight=0.3, head_weight=0.7)
    (record,) = run(state)
    student, score = (record.phases[name] for name in ("generator", "discriminator"))
    expected = 2.0 * student.terms["matching"] + 0.3 * student.terms["adversarial"]
    torch.testing.assert_close(student.total, expected)
    torch.testing.assert_close(score.total, score.terms["denoising"] + 0.7 * score.terms["adversarial"])


def test_share_of_the_adversarial_gradient_rises_with_its_weight() -> None:
    shares = []
    for weight in (0.01, 0.1, 3.0):
        state = start(build(), adversarial_weight=weight)
        shares.append(run(state)[0].phases["generator"].terms["adversarial_share"].item())
    assert 0 < shares[0] < shares[1] < shares[2] < 1
    assert "adversarial_share" not in run(state)[0].phases["generator"].terms


@pytest.mark.parametrize(
    ("objective", "without_effect"),
    [
        ("matching", set()),
        ("identity", set()),
        ("consistency", {"head_weight"}),
        ("adversarial", {"matching_weight", "head_weight"}),
    ],
)
def test_weights_without_another_term_are_not_turnable(objective: str, without_effect: set[str]) -> None:
    assert DistillationKnobs.ranges().keys() - build(objective=objective).turnable == without_effect
    for name in without_effect:
        with pytest.raises(SettingError, match=f"{name} has no effect in distill"):
            build(objective=objective, knobs={name: 1.0})


def test_noise_levels_are_within_their_range() -> None:
    model = build(noise_low=0.1, noise_high=5.0)
    state = start(model)
    phases = model.phases[0].loss.__self__  # type: ignore[attr-defined]
    levels = phases.draw_noise_levels(4000, state.moment(model.knobs, 0.0))
    assert 0.1 <= levels.min() < 0.11
    assert 4.8 < levels.max() <= 5.0
    middle = ((0.1 ** (1 / 7) + 5.0 ** (1 / 7)) / 2) ** 7
    assert levels.median().item() == pytest.approx(middle, rel=0.1)


def test_logits_depend_on_the_noise_of_the_moment_only() -> None:
    state = start(build())
    assert state.model.logits is not None
    moments = [dataclasses.replace(state.moment(state.model.knobs, 0.0), generator=source(3)) for _ in range(2)]
    first, second = (state.model.logits(state.model.networks, Reals().batch(0), moment) for moment in moments)
    assert torch.equal(first, second)


def source(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_head_and_denoiser_in_one_pass_or_apart() -> None:
    score = build().networks["discriminator"]
    assert isinstance(score, FakeScore)
    noisy, sigma, labels = torch.randn(4, 1, 8, 8, generator=source(0)), torch.full((4,), 0.5), torch.arange(4) % 3
    with torch.no_grad():
        denoised, logits = score.denoised_and_logits(noisy, sigma, labels)
        assert torch.equal(denoised, score(noisy, sigma, labels))
        assert torch.equal(logits, score.logits(noisy, sigma, labels))
        assert logits.shape == (4,)


def test_matching_pulls_a_student_to_its_teacher() -> None:
    """A student that starts off its teacher's mean comes closer in 20 steps, by matching alone."""
    model = build(knobs={"lr_g": 5e-3, "lr_d": 1e-2, "beta1": 0.0, "beta2": 0.99})
    wanted = generate(model).mean().item()
    with torch.no_grad():
        model.networks["generator"].network.exit.bias.add_(1.0)  # type: ignore[union-attr]
    before = abs(generate(model).mean().item() - wanted)
    run(start(model, adversarial_weight=0), 20)
    after = abs(generate(model).mean().item() - wanted)
    assert before > 0.05
    assert after < before / 2


@pytest.mark.parametrize("objective", ["matching", "identity", "consistency"])
def test_the_teacher_is_guided(objective: str) -> None:
    states = {w: start(build(objective=objective, guidance=w), adversarial_weight=0.0) for w in (1.0, GUIDANCE)}
    for state in states.values():
        run(state)
    weights = {w: bytes_of(state.model.networks["generator"].state_dict()) for w, state in states.items()}
    assert weights[1.0] != weights[GUIDANCE]
    plain = start(build(objective=objective), adversarial_weight=0.0)
    run(plain)
    assert bytes_of(plain.model.networks["generator"].state_dict()) == weights[GUIDANCE]


def test_guidance_needs_a_teacher_with_labels() -> None:
    teacher = Teacher("edm", {**NARROW, "conditional": False})
    assert Distillation(teacher=teacher).build(SPEC, torch.Generator()).num_classes == 0
    with pytest.raises(SettingError, match=r"guidance = 3 needs a teacher .* this edm was not; omit guidance"):
        Distillation(teacher=teacher, guidance=3.0).build(SPEC, torch.Generator())


def test_student_is_no_teacher() -> None:
    """It estimates clean images at the noise levels of its steps alone."""
    student = Teacher("distill", {"teacher": Teacher("edm", NARROW)})
    with pytest.raises(SettingError, match="a student of one, which does not denoise; use --from with the run of its"):
        Distillation(teacher=student).build(SPEC, torch.Generator().manual_seed(0))


def test_model_that_is_no_diffusion_model_is_refused() -> None:
    recipe = Distillation(teacher=Teacher("dcgan", {"width": 4}))
    with pytest.raises(SettingError, match="learns from a trained diffusion model, and dcgan is none; use --from"):
        recipe.build(DataSpec((1, 16, 16)), source(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps = 0: it must be at least 1"),
        ({"start": 0.001}, "start = 0.001: it must be above 0.002"),
        ({"noise_low": 3.0, "noise_high": 2.0}, "noise_high = 2: it must be above 3"),
        ({"intervals": 0}, "intervals = 0: it must be at least 1"),
    ],
)
def test_options_out_of_range(options: Mapping[str, float], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        Distillation(**options)  # type: ignore[arg-type]


def test_unknown_objective_names_the_nearest() -> None:
    from equipoise.core import catalog

    with pytest.raises(UnknownNameError, match="did you mean 'matching'"):
        catalog.build("models", "distill", {"objective": "matchin"})
