"""One training step: run the phases. These are the only lines that change weights."""

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from equipoise.core.data import Batch, Stream
from equipoise.core.knobs import Knobs
from equipoise.core.model import Loss, Moment, Phase, PhaseRecord, StepRecord
from equipoise.training import optimizers, weights
from equipoise.training.optimizers import autocast
from equipoise.training.reduction import reduce_update
from equipoise.training.state import TrainingState

Carried = Mapping[str, Tensor]
"""Tensors that earlier phases of a step carry to later ones, by name."""


def run_step(
    state: TrainingState, stream: Stream, knobs: Knobs, progress: float, *, measure: bool = False
) -> StepRecord:
    """Run every phase that is due, as often as it repeats, and count the step.

    Every update uses `state.accumulate` batches, whose gradients are averaged. Repeat i of every phase uses batch i of
    the step, or the i-th of these groups: each discriminator update has new real samples, and in an alternating step
    both networks use the same ones. Tensors that a phase carries are passed only to the first repeat of later phases,
    batch by batch: after an update, their graph belongs to old weights. `measure`: compute update ratios, which needs a
    copy of the weights.
    """
    with state.world.sharing_batches():
        records, groups, failures = _run_phases(state, stream, knobs, progress, measure)
    images = sum(map(len, groups[0])) * state.world.size if groups else 0
    state.step += 1
    state.world.begin(f"has ended step {state.step}")
    state.draws += sum(map(len, groups))
    state.images += images
    if groups and state.averages:
        learned_images = state.images - state.rolled_back_images
        decay = weights.average_decay(knobs.ema_half_life, images, learned_images)
        weights.update_averages(state.averages, state.model.networks, decay)
    non_finite = torch.stack(failures).any() if failures else None
    return StepRecord(state.step, state.images, records, non_finite=non_finite)


def _run_phases(
    state: TrainingState, stream: Stream, knobs: Knobs, progress: float, measure: bool
) -> tuple[dict[str, PhaseRecord], list[list[Batch]], list[Tensor]]:
    """Run the phases of a step; return their records, the batches of each repeat, and whether each update failed."""
    groups: list[list[Batch]] = []
    carried: list[Carried] = [{}] * state.accumulate
    records: dict[str, PhaseRecord] = {}
    failures: list[Tensor] = []
    for phase in state.model.phases:
        start = state.moment(knobs, progress)
        if not phase.when(start):
            continue
        for repeat in range(phase.repeats(start)):
            state.world.begin(_task(state, phase))
            if repeat == len(groups):
                groups.append(_read_group(state, stream, repeat))
            moment = state.moment(knobs, progress)
            losses = _accumulate(state, phase, moment, groups[repeat], carried if repeat == 0 else [])
            records[phase.name], failed = _update(state, phase, losses, moment, measure)
            failures.append(failed)
        if phase.name in records:
            carried = [{**old, **loss.carry} for old, loss in zip(carried, losses, strict=True)]
    return records, groups, failures


def _read_group(state: TrainingState, stream: Stream, repeat: int) -> list[Batch]:
    """Return the batches of an update, on the device. Batches are numbered consecutively, so that each is used once."""
    first = state.draws + repeat * state.accumulate
    return [stream.batch(first + part).to(state.device) for part in range(state.accumulate)]


def _accumulate(
    state: TrainingState, phase: Phase, moment: Moment[Knobs], batches: Sequence[Batch], carried: Sequence[Carried]
) -> list[Loss]:
    """Compute the losses of the batches of an update, and accumulate the mean of their gradients.

    For losses that are means over samples it equals the gradient of one large batch, up to rounding, unless layers
    depend on the batch, as batch normalisation does. `carried`: one mapping per batch; empty for none.
    """
    inputs = [weight for name in phase.updates for weight in optimizers.optimizer_weights(state.optimizers[name])]
    losses: list[Loss] = []
    for part, batch in enumerate(batches):
        own = dataclasses.replace(moment, memory=state.memory, carried=carried[part] if carried else {})
        # Phase.loss of a GAN is discriminator_loss, generator_loss or lazy_penalties in models/_adversarial_phases.py.
        with autocast(state.precision, state.device):
            loss = phase.loss(state.model.networks, batch, own)
        if part == 0:
            for name in phase.updates:
                state.optimizers[name].zero_grad(set_to_none=True)
        share = loss.total if len(batches) == 1 else loss.total / len(batches)
        torch.autograd.backward(state.scaler.scale(share), inputs=inputs)
        state.memory = {**state.memory, **{name: value.detach() for name, value in loss.memory.items()}}
        losses.append(loss)
    return losses


def _update(
    state: TrainingState, phase: Phase, losses: Sequence[Loss], moment: Moment[Knobs], measure: bool
) -> tuple[PhaseRecord, Tensor]:
    """Update the networks of a phase; returns its record, and whether the loss or a gradient was not finite."""
    norms, ratios = {}, {}
    record = _record(losses)
    if state.world.size > 1:
        all_weights = [
            weight for name in phase.updates for weight in optimizers.optimizer_weights(state.optimizers[name])
        ]
        state.world.begin(_task(state, phase), f"the terms {', '.join(record.terms) or 'none'}")
        record = reduce_update(state.world, all_weights, state.trained_networks.values(), record, state.stop)
    for name in phase.updates:
        optimizer = state.optimizers[name]
        network = optimizers.optimizer_weights(optimizer)
        settings = state.model.optimizer(name, moment)
        optimizers.apply_settings(optimizer, settings)
        state.scaler.unscale_(optimizer)
        norms[name] = torch.nn.utils.get_total_norm([weight.grad for weight in network if weight.grad is not None])
        if settings.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(network, settings.max_grad_norm, norms[name])
        before = [weight.detach().clone() for weight in network] if measure else []
        state.scaler.step(optimizer)
        if settings.weight_limit is not None:
            optimizers.clip_weights(network, settings.weight_limit)
        if measure:
            ratios[name] = _update_ratio(before, network)
    state.scaler.update()
    record = dataclasses.replace(record, gradient_norms=norms, update_ratios=ratios)
    # In fp16 the scaler regularly finds infinite gradients and skips those updates: this is not a failure.
    checked = [record.total] if state.scaler.is_enabled() else [record.total, *norms.values()]
    failed = ~torch.stack([value.float() for value in checked if value is not None]).isfinite().all()
    return record, failed


def _task(state: TrainingState, phase: Phase) -> str:
    """Return in words what a process does in a phase of a step, for an error if another process does something else."""
    return f"trains the phase {phase.name} in step {state.step + 1}"


def _record(losses: Sequence[Loss]) -> PhaseRecord:
    """Return the record of an update: means of the losses of its batches, and the logits of all of them."""
    first = losses[0]
    if len(losses) == 1:
        return PhaseRecord(first.total.detach(), first.terms, logit_real=first.logit_real, logit_fake=first.logit_fake)
    reals, fakes = ([loss.logit_real for loss in losses], [loss.logit_fake for loss in losses])
    return PhaseRecord(
        torch.stack([loss.total.detach() for loss in losses]).mean(),
        {name: torch.stack([loss.terms[name] for loss in losses]).mean() for name in first.terms},
        logit_real=torch.cat([logit for logit in reals if logit is not None]) if first.logit_real is not None else None,
        logit_fake=torch.cat([logit for logit in fakes if logit is not None]) if first.logit_fake is not None else None,
    )


def _update_ratio(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """Compute |change of the weights| / |weights|."""
    change = torch._foreach_sub([weight.detach() for weight in after], before)
    return torch.nn.utils.get_total_norm(change) / torch.nn.utils.get_total_norm(before).clamp_min(1e-12)
