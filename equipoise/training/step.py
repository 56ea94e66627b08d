"""One step: run the phases. The only lines that change weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from equipoise.core.data import Batch, Stream
from equipoise.core.knobs import Knobs
from equipoise.core.model import Loss, Moment, Phase
from equipoise.core.records import PhaseRecord, StepRecord
from equipoise.training import averaging, optimizers
from equipoise.training.precision import autocast
from equipoise.training.state import TrainingState


def run_step(
    state: TrainingState, stream: Stream, knobs: Knobs, progress: float, *, measure: bool = False
) -> StepRecord:
    """Run every phase that is due, as often as it says, and count the step.

    Repeat number i of any phase sees the i-th batch of the step, so that each discriminator update has fresh reals
    while both players of an alternating step share theirs. What a phase carries is offered to the first repeat of
    later phases only: after an update its graph is of networks that no longer are. `measure`: compare the weights
    before and after each update (costs a copy of them).
    """
    batches: list[Batch] = []
    carried: Mapping[str, Tensor] = {}
    records: dict[str, PhaseRecord] = {}
    failures: list[Tensor] = []
    for phase in state.model.phases:
        now = state.moment(knobs, progress)
        if not phase.when(now):
            continue
        for repeat in range(phase.repeats(now)):
            if repeat == len(batches):
                batches.append(stream.batch(state.draws + repeat).to(state.device))
            moment = Moment(
                now.step, now.images, progress, knobs, state.generator, state.memory, carried if repeat == 0 else {}
            )
            with autocast(state.precision, state.device):
                loss = phase.loss(state.model.networks, batches[repeat], moment)
            records[phase.name], failed = _update(state, phase, loss, moment, measure)
            failures.append(failed)
            state.memory = {**state.memory, **{name: value.detach() for name, value in loss.memory.items()}}
        if phase.name in records:
            carried = {**carried, **loss.carry}
    state.step += 1
    state.draws += len(batches)
    state.images += len(batches[0]) if batches else 0
    if batches and state.averaged:
        kept = averaging.decay(knobs.ema_half_life, len(batches[0]), state.images - state.unlearnt)
        averaging.update(state.averaged, state.model.networks, kept)
    non_finite = torch.stack(failures).any() if failures else None
    return StepRecord(state.step, state.images, records, non_finite=non_finite)


def _update(
    state: TrainingState, phase: Phase, loss: Loss, moment: Moment[Any], measure: bool
) -> tuple[PhaseRecord, Tensor]:
    """Move the networks of one phase; the record of it, and whether anything was not finite."""
    movers = {name: state.optimizers[name] for name in phase.updates}
    for optimizer in movers.values():
        optimizer.zero_grad(set_to_none=True)
    weights = {name: optimizers.weights_of(optimizer) for name, optimizer in movers.items()}
    inputs = [weight for network in weights.values() for weight in network]
    torch.autograd.backward(state.scaler.scale(loss.total), inputs=inputs)
    norms, ratios = {}, {}
    for name, optimizer in movers.items():
        settings = state.model.optimizer(name, moment)
        optimizers.turn(optimizer, settings)
        state.scaler.unscale_(optimizer) if state.scaler.is_enabled() else None
        gradients = [weight.grad for weight in weights[name] if weight.grad is not None]
        norms[name] = torch.nn.utils.get_total_norm(gradients)
        if settings.longest is not None:
            torch.nn.utils.clip_grads_with_norm_(weights[name], settings.longest, norms[name])
        before = [weight.detach().clone() for weight in weights[name]] if measure else []
        state.scaler.step(optimizer)
        if settings.limit is not None:
            optimizers.project(weights[name], settings.limit)
        if measure:
            ratios[name] = _ratio(before, weights[name])
    state.scaler.update()
    total = loss.total.detach()
    # In fp16 the scaler meets infinite gradients as a matter of course and skips those updates: no failure.
    watched = [total] if state.scaler.is_enabled() else [total, *norms.values()]
    failed = ~torch.stack([value.float() for value in watched]).isfinite().all()
    return PhaseRecord(total, loss.terms, norms, ratios, loss.logit_real, loss.logit_fake), failed


def _ratio(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """|change of the weights| / |weights|."""
    change = torch._foreach_sub([weight.detach() for weight in after], before)
    return torch.nn.utils.get_total_norm(change) / torch.nn.utils.get_total_norm(before).clamp_min(1e-12)
