"""The schedulers of the brief: its loop as written, curves, the learned policy, and invalid use."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from torch.nn.functional import softplus

from equipoise import GAN, AnnealedScheduler, LearnableScheduler
from equipoise.core import catalog
from equipoise.core.knobs import AdversarialKnobs
from equipoise.core.observations import Health, Observation, Signals
from equipoise.errors import EquipoiseError, SettingError, UnknownNameError
from equipoise.policy.files import encode_policy, load_policy

LEARNABLE = {
    "noise_var": {"initial": 1.0, "bounds": (0.0, 2.0)},
    "augmentation_strength": {"initial": 0.5, "bounds": (0.0, 1.0)},
    "regularization_weight": {"initial": 5.0, "bounds": (0.0, 20.0)},
}
FEATURES = ["loss_g", "loss_d", "grad_norm_g", "grad_norm_d", "epoch_progress"]
NAMES = set(LEARNABLE)


@pytest.fixture(scope="module")
def sensitive_policy(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A policy with the features and heads of the shipped one, and large weights."""
    shipped = load_policy("brief").policy
    row = np.random.default_rng(0).standard_normal(shipped.actor.flat().size) * 2
    path = tmp_path_factory.mktemp("policy") / "sensitive.safetensors"
    path.write_bytes(encode_policy(dataclasses.replace(shipped, actor=shipped.actor.with_flat(row))))
    return str(path)


def test_the_loop_of_the_brief_runs() -> None:
    """Verbatim; it leaves undefined `total_epochs`, the first losses, the scheduler, and the training step."""
    device, total_epochs, values = "cpu", 3, []
    model = GAN(nz=100, ngf=8, ndf=8, nc=3, img_size=32, device=device)
    annealed_scheduler = AnnealedScheduler(AnnealedScheduler.create_default_config())
    learnable_scheduler = LearnableScheduler(LEARNABLE, FEATURES, device=device)
    optimizers = [torch.optim.Adam(player.parameters(), lr=2e-4) for player in (model.generator, model.discriminator)]
    loss_g = loss_d = torch.tensor(0.7)
    for epoch in range(total_epochs):
        annealed_scheduler.update(epoch, total_epochs)
        learnable_scheduler.update(
            epoch,
            total_epochs,
            generator=model.generator,
            discriminator=model.discriminator,
            losses={"g": loss_g, "d": loss_d},
        )
        for scheduler in (annealed_scheduler, learnable_scheduler):
            params = scheduler.get_parameters()
            noise_var = params["noise_var"]
            loss_g, loss_d = train_step(model, optimizers, noise_var)
            values.append(params)
    assert all(params.keys() == NAMES for params in values)
    assert all(
        LEARNABLE[name]["bounds"][0] <= value <= LEARNABLE[name]["bounds"][1]
        for p in values
        for name, value in p.items()
    )
    assert values[0] != values[2] != values[4], "annealed"


def train_step(
    model: GAN, optimizers: list[torch.optim.Optimizer], noise_var: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """One step on noise, with noise of this variance on the inputs of the discriminator."""

    def logits(images: torch.Tensor) -> torch.Tensor:
        return model.discriminator(images + noise_var**0.5 * torch.randn_like(images))

    real, fake = torch.rand(4, 3, 32, 32) * 2 - 1, model.generator(model.noise(4))
    loss_d = softplus(-logits(real)).mean() + softplus(logits(fake.detach())).mean()
    update(optimizers[1], loss_d)
    loss_g = softplus(-logits(fake)).mean()
    update(optimizers[0], loss_g)
    return loss_g, loss_d


def update(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


@pytest.mark.parametrize("schedule", ["linear", "exponential", "cosine"])
def test_curves_have_the_ends_of_the_config(schedule: str) -> None:
    config = AnnealedScheduler.create_default_config(schedule)
    scheduler = AnnealedScheduler(config)
    path = []
    for epoch in range(11):
        scheduler.update(epoch, 11)
        path.append(scheduler.get_parameters())
    assert path[0] == {"noise_var": 1.0, "augmentation_strength": 0.5, "regularization_weight": 5.0}
    assert path[-1] == pytest.approx({"noise_var": 1e-3, "augmentation_strength": 1e-2, "regularization_weight": 0.1})
    middle = {"linear": 0.5005, "exponential": 1e-3**0.5, "cosine": 0.5005}[schedule]
    assert path[5]["noise_var"] == pytest.approx(middle)
    at_tenth = {"linear": 0.9001, "exponential": 1e-3**0.1, "cosine": 1e-3 + 0.999 * (1 + math.cos(math.pi / 10)) / 2}
    assert path[1]["noise_var"] == pytest.approx(at_tenth[schedule])


def parameters(policy, losses, features=FEATURES, config=LEARNABLE) -> list[dict[str, float]]:
    """The parameters after each epoch."""
    scheduler, path = LearnableScheduler(config, features, policy=policy), []
    for epoch, one in enumerate(losses):
        scheduler.update(epoch, len(losses), losses=one)
        path.append(scheduler.get_parameters())
    return path


EVEN = [{"g": 0.7, "d": 1.4}] * 12
LOST = [{"g": 0.7 + epoch, "d": 1.4 / (1 + epoch) ** 2} for epoch in range(12)]


def test_it_starts_at_the_config_and_depends_on_the_losses(sensitive_policy: str) -> None:
    fresh = LearnableScheduler(LEARNABLE, FEATURES)
    assert fresh.get_parameters() == {"noise_var": 1.0, "augmentation_strength": 0.5, "regularization_weight": 5.0}
    even, lost = parameters(sensitive_policy, EVEN), parameters(sensitive_policy, LOST)
    assert even[-1] != lost[-1], "other losses give other parameters"
    assert len({tuple(params.values()) for params in even}) > 2


def test_it_follows_its_policy(sensitive_policy: str) -> None:
    """The controller `learnable:brief`, with its knobs in the units of the brief."""
    controller, knobs = (
        catalog.build("controllers", "learnable:brief", {"policy": sensitive_policy}),
        AdversarialKnobs(),
    )
    state, path = controller.initial(knobs), parameters(sensitive_policy, LOST)
    for epoch, losses in enumerate(LOST):
        signals = Signals(loss_g=losses["g"], loss_d=losses["d"])
        turn = controller.update(state, Observation(epoch + 1, epoch / 11, signals, Health(), knobs))
        state, knobs = turn.state, knobs.step_towards(turn.knobs)
        assert path[epoch]["noise_var"] == pytest.approx(knobs.instance_noise**2)
        assert path[epoch]["augmentation_strength"] == pytest.approx(knobs.augment_p / 0.8)


def test_other_features_have_no_effect(sensitive_policy: str) -> None:
    blind = ["epoch_progress"]
    assert parameters(sensitive_policy, EVEN, blind) == parameters(sensitive_policy, LOST, blind)
    assert parameters(sensitive_policy, EVEN, ["loss_g"]) != parameters(sensitive_policy, LOST, ["loss_g"])


def test_gradients_are_read_from_the_networks(sensitive_policy: str) -> None:
    network = torch.nn.Linear(3, 1)
    paths = []
    for growth in (1.0, 3.0):
        scheduler = LearnableScheduler(LEARNABLE, FEATURES, policy=sensitive_policy)
        for epoch in range(12):
            network.weight.grad, network.bias.grad = torch.full((1, 3), growth**epoch), torch.zeros(1)
            scheduler.update(epoch, 12, generator=network, discriminator=network, losses=EVEN[epoch])
        paths.append(scheduler.get_parameters())
    assert paths[0] != paths[1]


def test_bounds_and_initial_values_are_those_of_the_config(sensitive_policy: str) -> None:
    narrow = {"noise_var": {"initial": 0.2, "bounds": (0.1, 0.3)}}
    wide, thin = parameters(sensitive_policy, LOST), parameters(sensitive_policy, LOST, config=narrow)
    for one, other in zip(wide, thin, strict=True):
        assert list(other) == ["noise_var"]
        assert 0.1 <= other["noise_var"] <= 0.3
        assert (other["noise_var"] - 0.2) / 0.1 == pytest.approx(one["noise_var"] - 1.0), "at the same place between"


def test_a_score_adapts_the_gain_of_the_policy(sensitive_policy: str) -> None:
    """A distance that increases whenever the policy is followed reduces the gain of the policy."""
    scheduler, rising = (LearnableScheduler(LEARNABLE, FEATURES, policy=sensitive_policy) for _ in range(2))
    for epoch in range(40):
        scheduler.update(epoch, 40, losses={"g": 0.7, "d": 1.4})
        rising.update(epoch, 40, losses={"g": 0.7, "d": 1.4}, score=1.2**epoch)
    assert scheduler.state_dict()["state"]["adapting"]["pulls"] == 0
    assert rising.state_dict()["state"]["adapting"]["pulls"] == 39
    assert rising.get_parameters() != scheduler.get_parameters()


def test_both_continue_from_their_state(sensitive_policy: str) -> None:
    def schedulers():
        return (
            AnnealedScheduler(AnnealedScheduler.create_default_config()),
            LearnableScheduler(LEARNABLE, FEATURES, policy=sensitive_policy),
        )

    for kind in (0, 1):
        uninterrupted, first, second = schedulers()[kind], schedulers()[kind], schedulers()[kind]
        for epoch in range(8):
            uninterrupted.update(epoch, 8, losses=LOST[epoch])
            if epoch < 5:
                first.update(epoch, 8, losses=LOST[epoch])
        second.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert second.get_parameters() == first.get_parameters()
        for epoch in range(5, 8):
            second.update(epoch, 8, losses=LOST[epoch])
        assert second.get_parameters() == uninterrupted.get_parameters()


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        (None, r"losses\['g'\] is missing in epoch 2: pass both losses, one number each"),
        ({"g": 0.7}, r"losses\['d'\] is missing"),
        ({"g": 0.7, "d": None}, r"losses\['d'\] is missing"),
        (
            {"g": math.nan, "d": 1.0},
            r"losses\['g'\] is nan in epoch 2: the networks have diverged; nothing was updated",
        ),
        ({"g": 0.7, "d": torch.tensor(math.inf)}, r"losses\['d'\] is inf in epoch 2"),
        ({"g": torch.ones(4), "d": 1.0}, r"losses\['g'\] must be one number, not a tensor of shape \(4,\)"),
        ({"g": "0.7", "d": 1.0}, r"losses\['g'\] must be one number, not str"),
    ],
)
def test_a_missing_or_invalid_loss_is_refused_in_one_line(losses, message: str) -> None:
    scheduler = LearnableScheduler(LEARNABLE, FEATURES)
    scheduler.update(1, 4, losses={"g": 0.7, "d": 1.4})
    before = json.dumps(scheduler.state_dict())
    with pytest.raises(SettingError, match=message) as error:
        scheduler.update(2, 4, losses=losses)
    assert "\n" not in str(error.value)
    assert json.dumps(scheduler.state_dict()) == before, "nothing was updated"
    if losses is not None:
        annealed = AnnealedScheduler(AnnealedScheduler.create_default_config())
        with pytest.raises(SettingError, match=message):
            annealed.update(2, 4, losses=losses)


def test_invalid_settings_are_refused() -> None:
    config = AnnealedScheduler.create_default_config()
    with pytest.raises(UnknownNameError, match="there is no schedule 'cosin' for 'noise_var'; did you mean 'cosine'"):
        AnnealedScheduler({"noise_var": {"initial": 1, "final": 0, "schedule": "cosin"}})
    with pytest.raises(UnknownNameError, match="there is no key 'finl' of 'noise_var'; did you mean 'final'"):
        AnnealedScheduler({"noise_var": {"initial": 1, "finl": 0}})
    with pytest.raises(SettingError, match="'noise_var' has no 'final'"):
        AnnealedScheduler({"noise_var": {"initial": 1}})
    with pytest.raises(SettingError, match=r"exponential\(1, 0\)"):
        AnnealedScheduler({"noise_var": {"initial": 1, "final": 0, "schedule": "exponential"}})
    with pytest.raises(SettingError, match="epoch = 4: it must be from 0 to 3"):
        AnnealedScheduler(config).update(4, 4)
    with pytest.raises(SettingError, match="total_epochs = 0"):
        AnnealedScheduler(config).update(0, 0)
    with pytest.raises(
        UnknownNameError, match="there is no feature 'los_g' of the policy 'brief'; did you mean 'loss_g'"
    ):
        LearnableScheduler(LEARNABLE, ["los_g"])
    with pytest.raises(
        UnknownNameError, match="there is no parameter 'noise' of the policy 'brief'; did you mean 'noise_var'"
    ):
        LearnableScheduler({"noise": {"initial": 1, "bounds": (0, 2)}}, FEATURES)
    with pytest.raises(
        SettingError, match=r"'noise_var': initial 3 must lie within bounds \(low, high\), not \(0, 2\)"
    ):
        LearnableScheduler({"noise_var": {"initial": 3, "bounds": (0, 2)}}, FEATURES)
    with pytest.raises(SettingError, match="there is no device 'cuda:99' on this machine; use device='cpu'"):
        LearnableScheduler(LEARNABLE, FEATURES, device="cuda:99")
    with pytest.raises(EquipoiseError, match="policy 'nowhere'"):
        LearnableScheduler(LEARNABLE, FEATURES, policy="nowhere")
    other = AnnealedScheduler(AnnealedScheduler.create_default_config("linear"))
    with pytest.raises(SettingError, match="another config"):
        other.load_state_dict(AnnealedScheduler(config).state_dict())
