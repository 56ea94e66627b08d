"""One training step: run the phases. These are the only lines that change weights."""

from collections.abc import Mapping

import torch
from torch import Tensor

from equipoise.core.data import Batch, Stream
from equipoise.core.knobs import Knobs
from equipoise.core.model import Loss, Moment, Phase, PhaseRecord, StepRecord
from equipoise.training import optimizers, weights
from equipoise.training.optimizers import autocast
from equipoise.training.state import TrainingState


def run_step(
    state: TrainingState, stream: Stream, knobs: Knobs, progress: float, *, measure: bool = False
) -> StepRecord:
    """Run every phase that is due, as often as it repeats, and count the step.

    Repeat i of every phase uses batch i of the step: each discriminator update has new real samples, and in an
    alternating step both networks use the same batch. Tensors that a phase carries are passed only to the first repeat
    of later phases: after an update, their graph belongs to old weights. `measure`: compute update ratios, which needs
    a copy of the weights.
    """
    batches: list[Batch] = []
    carried: Mapping[str, Tensor] = {}
    records: dict[str, PhaseRecord] = {}
    failures: list[Tensor] = []
    for phase in state.model.phases:
        start = state.moment(knobs, progress)
        if not phase.when(start):
            continue
        for repeat in range(phase.repeats(start)):
            if repeat == len(batches):
                batches.append(stream.batch(state.draws + repeat).to(state.device))
            moment = Moment(
                start.step, start.images, progress, knobs, state.generator, state.memory, carried if repeat == 0 else {}
            )
            # Phase.loss of a GAN: discriminator_loss, generator_loss, lazy_penalties in models/_adversarial_phases.py.
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
    if batches and state.averages:
        learned_images = state.images - state.rolled_back_images
        decay = weights.average_decay(knobs.ema_half_life, len(batches[0]), learned_images)
        weights.update_averages(state.averages, state.model.networks, decay)
    non_finite = torch.stack(failures).any() if failures else None
    return StepRecord(state.step, state.images, records, non_finite=non_finite)


def _update(
    state: TrainingState, phase: Phase, loss: Loss, moment: Moment[Knobs], measure: bool
) -> tuple[PhaseRecord, Tensor]:
    """Update the networks of a phase; returns its record, and whether the loss or a gradient was not finite."""
    phase_optimizers = {name: state.optimizers[name] for name in phase.updates}
    for optimizer in phase_optimizers.values():
        optimizer.zero_grad(set_to_none=True)
    weights = {name: optimizers.optimizer_weights(optimizer) for name, optimizer in phase_optimizers.items()}
    inputs = [weight for network in weights.values() for weight in network]
    torch.autograd.backward(state.scaler.scale(loss.total), inputs=inputs)
    norms, ratios = {}, {}
    for name, optimizer in phase_optimizers.items():
        settings = state.model.optimizer(name, moment)
        optimizers.apply_settings(optimizer, settings)
        state.scaler.unscale_(optimizer) if state.scaler.is_enabled() else None
        gradients = [weight.grad for weight in weights[name] if weight.grad is not None]
        norms[name] = torch.nn.utils.get_total_norm(gradients)
        if settings.max_grad_norm is not None:
            torch.nn.utils.clip_grads_with_norm_(weights[name], settings.max_grad_norm, norms[name])
        before = [weight.detach().clone() for weight in weights[name]] if measure else []
        state.scaler.step(optimizer)
        if settings.weight_limit is not None:
            optimizers.clip_weights(weights[name], settings.weight_limit)
        if measure:
            ratios[name] = _update_ratio(before, weights[name])
    state.scaler.update()
    total = loss.total.detach()
    # In fp16 the scaler regularly finds infinite gradients and skips those updates: this is not a failure.
    checked = [total] if state.scaler.is_enabled() else [total, *norms.values()]
    failed = ~torch.stack([value.float() for value in checked]).isfinite().all()
    return PhaseRecord(total, loss.terms, norms, ratios, loss.logit_real, loss.logit_fake), failed


def _update_ratio(before: list[Tensor], after: list[Tensor]) -> Tensor:
    """Compute |change of the weights| / |weights|."""
    change = torch._foreach_sub([weight.detach() for weight in after], before)
    return torch.nn.utils.get_total_norm(change) / torch.nn.utils.get_total_norm(before).clamp_min(1e-12)
