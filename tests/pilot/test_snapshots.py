"""Going back in a loop of one's own: what is kept, what is gone back to, and what stays as it was turned."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import softplus
from torch.optim import Adam

from equipoise.diagnosis.remedies import Care
from equipoise.errors import SettingError
from equipoise.pilot.pilot import Decision, Pilot
from equipoise.pilot.snapshots import KEPT, Rollback, Snapshots

STEPS = 60


class Loop:
    """Two small networks, trained by hand; in step `spoilt` the generator's weights become no numbers."""

    def __init__(self, spoilt: tuple[int, ...] = ()) -> None:
        torch.manual_seed(0)
        self.generator, self.discriminator = nn.Linear(2, 2), nn.Linear(2, 1)
        self.optimizers = {
            "generator": Adam(self.generator.parameters(), lr=1e-3, betas=(0.5, 0.9)),
            "discriminator": Adam(self.discriminator.parameters(), lr=8e-3, betas=(0.5, 0.9)),
        }
        self.parts = (self.generator, self.discriminator, *self.optimizers.values())
        self.noise, self.done, self.spoilt = torch.Generator().manual_seed(1), 0, spoilt

    def step(self) -> dict[str, Tensor]:
        self.done += 1
        if self.done in self.spoilt:
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


def flown(loop: Loop, rollback: Rollback, watch: Callable[[int], None] = lambda step: None, **options: Any):
    """The decisions of a run that something was done in, by step."""
    pilot = Pilot("fixed", steps=STEPS, optimizers=loop.optimizers, rollback=rollback, **options)
    result: dict[int, Decision] = {}
    for step in range(1, STEPS + 1):
        decision = pilot.observe(**loop.step())
        watch(step)
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


def test_a_loop_that_broke_goes_on_from_where_it_was_sound() -> None:
    loop, seen = Loop(spoilt=(34,)), {}
    pilot, result = flown(loop, Rollback.of(*loop.parts, every=10), lambda step: seen.update({step: loop.weights()}))
    ((step, decision),) = result.items()
    assert (step, decision.restored, decision.remedy.finding.symptom) == (34, 30, "divergence")
    generator, discriminator, *optimizers = seen[34]
    assert same([generator, discriminator], seen[30][:2]), "to the bit"
    assert same([one["state"] for one in optimizers], [one["state"] for one in seen[30][2:]]), "Adam's moments too"
    assert all(weight.isfinite().all() for network in seen[STEPS][:2] for weight in network.values())
    assert pilot.step == STEPS, "the clock goes on"


def test_rates_stay_as_they_were_turned() -> None:
    """The remedy slows both players; the snapshot's optimizers had the old rates in them."""
    loop, rates = Loop(spoilt=(34,)), {}

    def look(step: int) -> None:
        rates[step] = [group["lr"] for optimizer in loop.optimizers.values() for group in optimizer.param_groups]

    pilot, result = flown(loop, Rollback.of(*loop.parts, every=10), look, care=Care())
    overrides = {one.knob: one.value for one in result[34].remedy.overrides}
    assert overrides.keys() >= {"lr_g", "lr_d"}
    assert rates[33] == [1e-3, 8e-3]
    assert rates[34] == [overrides["lr_g"], overrides["lr_d"]]
    assert rates[34] == [pilot.base.lr_g / 2, pilot.base.lr_d / 2]


def test_a_user_s_own_way_of_keeping_is_asked() -> None:
    loop, asked = Loop(spoilt=(25, 26)), []

    def save() -> str:
        asked.append(("save", loop.done))
        return f"kept after {loop.done}"

    def restore(kept: str) -> None:
        asked.append(("restore", kept))
        with torch.no_grad():
            loop.generator.weight.fill_(1.0)

    _, result = flown(loop, Rollback(save, restore, every=10))
    assert asked[:3] == [("save", 0), ("save", 10), ("save", 20)]
    assert asked[3:5] == [("restore", "kept after 20"), ("restore", "kept after 10")], "each once"
    assert [decision.restored for decision in result.values()][:3] == [20, 10, 0], "Adam's moments were not put back"


def test_the_start_is_gone_back_to_in_the_end_and_again() -> None:
    loop = Loop(spoilt=(3, 4))
    start = loop.weights()
    _, result = flown(loop, Rollback.of(*loop.parts, every=10), lambda step: None)
    assert [decision.restored for decision in result.values()] == [0, 0]
    assert not same(loop.weights(), start), "and it has trained on from there"


def test_without_a_way_back_only_knobs_are_turned() -> None:
    loop = Loop(spoilt=(5,))
    pilot = Pilot("fixed", steps=STEPS, optimizers=loop.optimizers, care=Care())
    remedied = [decision for _ in range(8) if (decision := pilot.observe(**loop.step())) and decision.remedy]
    assert remedied
    assert all(decision.restored is None for decision in remedied)


def test_nothing_sick_is_kept_and_no_more_than_some() -> None:
    kept: list[int] = []
    loop = Loop(spoilt=(31,))
    flown(loop, Rollback(lambda: kept.append(loop.done), lambda nothing: None, every=10))
    assert kept == [0, 10, 20, 30], "its weights are no numbers from there on"
    snapshots = Snapshots(Rollback(lambda: None, lambda nothing: None, every=1))
    for step in range(1, 9):
        snapshots.keep(step)
    assert [step for step, _ in snapshots.kept] == [7, 8]
    assert len(snapshots.kept) == KEPT


def test_what_is_too_old_or_too_new_is_not_gone_back_to() -> None:
    put_back: list[int] = []
    numbers = iter(range(100))
    rollback = Rollback(lambda: next(numbers), put_back.append, every=10)

    def kept() -> Snapshots:
        snapshots = Snapshots(rollback)
        snapshots.keep(10)
        snapshots.keep(20)
        return snapshots

    assert kept().go_back(since=15, oldest=0) == 10
    assert kept().go_back(since=25, oldest=15) == 20
    assert kept().go_back(since=15, oldest=12) is None
    assert kept().go_back(since=5, oldest=0) == 0
    assert len(put_back) == 3


def test_a_snapshot_does_not_change_while_training_goes_on() -> None:
    loop = Loop()
    rollback = Rollback.of(*loop.parts)
    for _ in range(3):
        loop.step()
    before, kept = loop.weights(), rollback.save()
    for _ in range(2):  # twice: what was put back must not be trained on in place
        for _ in range(4):
            loop.step()
        rollback.restore(kept)
        assert same(loop.weights(), before)


def test_after_a_resume_the_loop_as_it_then_is_is_the_start() -> None:
    loop = Loop()
    rollback = Rollback.of(*loop.parts)
    pilot = Pilot("fixed", steps=STEPS, optimizers=loop.optimizers, rollback=rollback)
    for _ in range(5):
        pilot.observe(**loop.step())
    here = loop.weights()
    tensors, values = pilot.state()
    second = Pilot("fixed", steps=STEPS, optimizers=loop.optimizers, knobs=pilot.base, rollback=rollback)
    second.restore(5, 80, tensors, values)
    loop.spoilt = (6,)
    decision = second.observe(**loop.step())
    assert decision is not None
    assert decision.restored == 5
    assert same(loop.weights()[0], here[0])


@pytest.mark.parametrize("steps", [0, -3])
def test_a_run_of_no_steps_is_told(steps: int) -> None:
    with pytest.raises(SettingError, match=f"steps = {steps}: it must be at least 1"):
        Pilot("fixed", steps=steps, optimizers=Loop().optimizers)
