"""Rollback of a custom loop: what is saved, what is restored, and what keeps its present value."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam

from equipoise.diagnosis.remedies import RepairSettings
from equipoise.errors import SettingError
from equipoise.pilot.pilot import Pilot
from equipoise.pilot.snapshots import RECENT, Rollback, Snapshots
from equipoise.pilot.step import Decision

STEPS = 60


class Loop:
    """Two small networks with a custom loop; in the steps `corrupt` the weights of the generator become NaN."""

    def __init__(self, corrupt: tuple[int, ...] = ()) -> None:
        torch.manual_seed(0)
        self.generator, self.discriminator = nn.Linear(2, 2), nn.Linear(2, 1)
        self.optimizers = {
            "generator": Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.9)),
            "discriminator": Adam(self.discriminator.parameters(), lr=8e-3, betas=(0.5, 0.9)),
        }
        self.parts = (self.generator, self.discriminator, *self.optimizers.values())
        self.noise, self.count, self.corrupt = torch.Generator().manual_seed(1), 0, corrupt

    def step(self) -> dict[str, Tensor]:
        self.count += 1
        if self.count in self.corrupt:
            with torch.no_grad():
                self.generator.weight.fill_(math.nan)
        real = torch.randn(16, 2, generator=self.noise) + 2
        fake = self.generator(torch.randn(16, 2, generator=self.noise))
        logit_real, logit_fake = self.discriminator(real), self.discriminator(fake.detach())
        loss_d = softplus(-logit_real).mean() + softplus(logit_fake).mean()
        self.update("discriminator", loss_d)
        loss_g = softplus(-self.discriminator(fake)).mean()
        self.update("generator", loss_g)
        return {"loss_g": loss_g, "loss_d": loss_d, "logit_real": logit_real, "logit_fake": logit_fake}

    def update(self, player: str, loss: Tensor) -> None:
        self.optimizers[player].zero_grad()
        loss.backward()
        self.optimizers[player].step()

    def weights(self) -> list[Any]:
        return [copy.deepcopy(part.state_dict()) for part in self.parts]


def train(loop: Loop, rollback: Rollback, callback: Callable[[int], None] = lambda step: None, **options: Any):
    """Train to the end; return the pilot and the decisions with a remedy, by step."""
    pilot = Pilot("fixed", steps=STEPS, optimizers=loop.optimizers, rollback=rollback, **options)
    result: dict[int, Decision] = {}
    for step in range(1, STEPS + 1):
        decision = pilot.observe(**loop.step())
        callback(step)
        if decision and decision.remedy:
            result[step] = decision
    return pilot, result


def same(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def test_a_diverged_loop_continues_from_a_healthy_snapshot() -> None:
    loop, states = Loop(corrupt=(34,)), {}
    pilot, result = train(loop, Rollback.of(*loop.parts, every=10), lambda step: states.update({step: loop.weights()}))
    ((step, decision),) = result.items()
    assert (step, decision.restored, decision.remedy.finding.symptom) == (34, 30, "divergence")
    generator, discriminator, *optimizers = states[34]
    assert same([generator, discriminator], states[30][:2]), "bit for bit"
    assert same([one["state"] for one in optimizers], [one["state"] for one in states[30][2:]]), "Adam's moments too"
    assert all(weight.isfinite().all() for network in states[STEPS][:2] for weight in network.values())
    assert pilot.step == STEPS, "the clock continues"


def test_learning_rates_keep_the_values_of_the_pilot() -> None:
    """The remedy slows both players; the optimizers in the snapshot have the old rates."""
    loop, rates = Loop(corrupt=(34,)), {}

    def record(step: int) -> None:
        rates[step] = [group["lr"] for optimizer in loop.optimizers.values() for group in optimizer.param_groups]

    pilot, result = train(loop, Rollback.of(*loop.parts, every=10), record, repair=RepairSettings())
    overrides = {one.knob: one.value for one in result[34].remedy.overrides}
    assert overrides.keys() >= {"lr_g", "lr_d"}
    assert rates[33] == [1e-3, 8e-3]
    assert rates[34] == [overrides["lr_g"], overrides["lr_d"]]
    assert rates[34] == [pilot.base.lr_g / 2, pilot.base.lr_d / 2]


def test_custom_save_and_restore_functions_are_called() -> None:
    loop, calls = Loop(corrupt=(25, 26)), []

    def save() -> str:
        calls.append(("save", loop.count))
        return f"saved after {loop.count}"

    def restore(snapshot: str) -> None:
        calls.append(("restore", snapshot))
        with torch.no_grad():
            loop.generator.weight.fill_(1.0)

    _, result = train(loop, Rollback(save, restore, every=10))
    assert calls[:3] == [("save", 0), ("save", 10), ("save", 20)]
    assert calls[3:5] == [("restore", "saved after 20"), ("restore", "saved after 10")], "each once"
    assert [decision.restored for decision in result.values()][:3] == [20, 10, 0], (
        "the moments of Adam were not restored"
    )


def test_the_start_can_be_restored_repeatedly() -> None:
    loop = Loop(corrupt=(3, 4))
    start = loop.weights()
    _, result = train(loop, Rollback.of(*loop.parts, every=10), lambda step: None)
    assert [decision.restored for decision in result.values()] == [0, 0]
    assert not same(loop.weights(), start), "training has continued from there"


def test_without_rollback_only_knobs_change() -> None:
    loop = Loop(corrupt=(5,))
    pilot = Pilot("fixed", steps=STEPS, optimizers=loop.optimizers, repair=RepairSettings())
    remedied = [decision for _ in range(8) if (decision := pilot.observe(**loop.step())) and decision.remedy]
    assert remedied
    assert all(decision.restored is None for decision in remedied)


def test_only_recent_healthy_states_are_saved() -> None:
    saved: list[int] = []
    loop = Loop(corrupt=(31,))
    train(loop, Rollback(lambda: saved.append(loop.count), lambda nothing: None, every=10))
    assert saved == [0, 10, 20, 30], "its weights are NaN after that"
    snapshots = Snapshots(Rollback(lambda: None, lambda nothing: None, every=1))
    for step in range(1, 9):
        snapshots.save(step)
    assert [step for step, _ in snapshots.recent] == [7, 8]
    assert len(snapshots.recent) == RECENT


def test_the_range_of_steps_to_restore_is_respected() -> None:
    restored: list[int] = []
    numbers = iter(range(100))
    rollback = Rollback(lambda: next(numbers), restored.append, every=10)

    def two_snapshots() -> Snapshots:
        snapshots = Snapshots(rollback)
        snapshots.save(10)
        snapshots.save(20)
        return snapshots

    assert two_snapshots().restore(newest=15, oldest=0) == 10
    assert two_snapshots().restore(newest=25, oldest=15) == 20
    assert two_snapshots().restore(newest=15, oldest=12) is None
    assert two_snapshots().restore(newest=5, oldest=0) == 0
    assert len(restored) == 3


def test_a_snapshot_does_not_change_while_training_continues() -> None:
    loop = Loop()
    rollback = Rollback.of(*loop.parts)
    for _ in range(3):
        loop.step()
    before, snapshot = loop.weights(), rollback.save()
    for _ in range(2):  # twice: restored tensors must not be trained in place
        for _ in range(4):
            loop.step()
        rollback.restore(snapshot)
        assert same(loop.weights(), before)


def test_after_a_resume_the_present_state_is_the_start() -> None:
    loop = Loop()
    rollback = Rollback.of(*loop.parts)
    pilot = Pilot("fixed", steps=STEPS, optimizers=loop.optimizers, rollback=rollback)
    for _ in range(5):
        pilot.observe(**loop.step())
    present = loop.weights()
    tensors, values = pilot.state()
    second = Pilot("fixed", steps=STEPS, optimizers=loop.optimizers, knobs=pilot.base, rollback=rollback)
    second.restore(5, 80, tensors, values)
    loop.corrupt = (6,)
    decision = second.observe(**loop.step())
    assert decision is not None
    assert decision.restored == 5
    assert same(loop.weights()[0], present[0])


@pytest.mark.parametrize("steps", [0, -3])
def test_a_run_needs_at_least_one_step(steps: int) -> None:
    with pytest.raises(SettingError, match=f"steps = {steps}: it must be at least 1"):
        Pilot("fixed", steps=steps, optimizers=Loop().optimizers)
