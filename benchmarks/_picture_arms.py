"""Arms of photographs.py: models with the settings of their papers and with ours, augmentation, controllers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _picture_sets import SIDE


@dataclass(frozen=True)
class Arm:
    """What `equipoise train FOLDER` is given. None: what it chooses; the runs of all arms are without a live metric.

    `start`: run whose weights to start from. `frozen`: layers of the discriminator that keep them. `cost`: arm whose
    steps cost the same, if this one was not measured.
    """

    model: str | None = None
    batch: int | None = None
    controller: str | None = "annealed"
    options: Mapping[str, Any] = field(default_factory=dict)
    knobs: Mapping[str, float] = field(default_factory=dict)
    start: str | None = None
    frozen: int = 0
    cost: str | None = None


DEFAULT = Arm("dcgan", 64, "learnable:suite")
"""The choice of `equipoise train FOLDER` before this benchmark."""
RATES = {"lr_g": 2e-3, "lr_d": 2e-3}
ARMS = {
    "default": DEFAULT,
    # DCGAN: size of a batch, augmentation, controller, loss.
    "dcgan_fixed": Arm("dcgan", 64, "fixed"),
    "dcgan_16": Arm("dcgan", 16),
    "dcgan_aug_16": Arm("dcgan", 16, knobs={"augment_p": 0.5}),
    "dcgan_ada_16": Arm("dcgan", 16, "confident_ada"),
    "dcgan_rp_16": Arm("dcgan", 16, options={"loss": "relativistic"}, knobs={"r2_gamma": 1.0}),
    "dcgan_rp_aug_16": Arm("dcgan", 16, options={"loss": "relativistic"}, knobs={"r2_gamma": 1.0, "augment_p": 0.5}),
    "dcgan_wide_16": Arm("dcgan", 16, options={"width": 64}, knobs={"lr_g": 1e-3, "lr_d": 1e-3}),
    "dcgan_fixed_16": Arm("dcgan", 16, "fixed"),
    "dcgan_suite_16": Arm("dcgan", 16, "learnable:suite"),
    "dcgan_slow_16": Arm("dcgan", 16, knobs={"lr_g": 1e-3, "lr_d": 1e-3}),
    "dcgan_8": Arm("dcgan", 8),
    "dcgan_narrow_16": Arm("dcgan", 16, options={"width": 16}),
    "dcgan_narrow_rp_16": Arm("dcgan", 16, options={"width": 16, "loss": "relativistic"}, knobs={"r2_gamma": 1.0}),
    "dcgan_narrow_rp_aug_16": Arm(
        "dcgan", 16, options={"width": 16, "loss": "relativistic"}, knobs={"r2_gamma": 1.0, "augment_p": 0.3}
    ),
    # Settings of papers.
    "dcgan_paper": Arm("dcgan:celeba64", 128, "fixed"),
    "sngan_paper": Arm("sngan", 64, "fixed"),
    "wgan_gp_paper": Arm("wgan_gp", 64, "fixed"),
    "progan_paper": Arm("progan:paper", 16, "fixed"),
    "fastgan_paper": Arm("fastgan:paper", 8, "fixed"),
    "projected_paper": Arm("projected:paper", 64, "fixed"),
    "stylegan2_paper": Arm("stylegan2:paper256", 32, "fixed"),
    "r3gan_paper": Arm("r3gan:ffhq64", 256, "annealed:r3gan"),
    # Other models with our settings.
    "sngan_16": Arm("sngan", 16, options={"width": 32}, knobs={"lr_g": 1e-3, "lr_d": 1e-3, "beta1": 0.0}),
    "wgan_gp_16": Arm(
        "wgan_gp", 16, options={"width": 32}, knobs={"lr_g": 1e-3, "lr_d": 1e-3, "discriminator_steps": 1}
    ),
    "r3gan_16": Arm("r3gan", 16),
    "r3gan_small_16": Arm("r3gan", 16, options={"width": 32}),
    "r3gan_narrow_16": Arm("r3gan", 16, options={"width": 24, "blocks": 1}),
    "fastgan_16": Arm("fastgan", 16, knobs={"lr_g": 1e-3, "lr_d": 1e-3}),
    "fastgan_8": Arm("fastgan", 8),
    "fastgan_small_16": Arm("fastgan", 16, options={"width": 8, "widest": 64}, knobs={"lr_g": 1e-3, "lr_d": 1e-3}),
    "projected_16": Arm("projected", 16, knobs={"lr_g": 1e-3, "lr_d": 1e-3}),
    "projected_small_16": Arm(
        "projected", 16, options={"feature_side": 64, "width": 8, "widest": 64}, knobs={"lr_g": 1e-3, "lr_d": 1e-3}
    ),
    "stylegan2_16": Arm("stylegan2", 16),
    "stylegan2_aug_16": Arm("stylegan2", 16, knobs={"augment_p": 0.4}),
    "stylegan2_small_16": Arm("stylegan2", 16, options={"width": 64, "channel_base": 512}),
    "stylegan2_quiet_16": Arm("stylegan2", 16, options={"noise": False, "mixing": 0.0}),
    "progan_16": Arm("progan", 16),
    "progan_aug_16": Arm("progan", 16, knobs={"augment_p": 0.4}),
}


def make_experiment(arm: Arm, folder: Path, cache: Path, steps: int, seed: int) -> Any:
    """Return the completed experiment of an arm on a folder, on one thread of a CPU."""
    from equipoise.experiment.completion import complete, prepare_data
    from equipoise.experiment.settings import Experiment, PlugSpec

    data = PlugSpec("image_folder", {"folder": str(folder), "cache": str(cache / "decoded"), "image_size": SIDE})
    experiment = Experiment(
        data=data,
        model=PlugSpec(arm.model, dict(arm.options)) if arm.model else None,
        controller=PlugSpec(arm.controller) if arm.controller else None,
        batch_size=arm.batch,
        start_from=arm.start,
        knobs=dict(arm.knobs),
        steps=steps,
        metric=PlugSpec("none"),
        sample_every=max(1, steps),
        threads=1,
        device="cpu",
        seed=seed,
    )
    for _ in prepare_data(experiment):
        pass
    return complete(experiment)


def make_training(arm: Arm, folder: Path, cache: Path, steps: int, seed: int) -> Any:
    """Return the training of an arm, ready to start, as `equipoise train` builds it."""
    from equipoise.experiment.assembly import assemble
    from equipoise.experiment.launch import load_initial_weights

    experiment = make_experiment(arm, folder, cache, steps, seed)
    training = assemble(experiment, None)
    load_initial_weights(training, experiment)
    freeze(training, arm.frozen)
    return training


def freeze(training: Any, count: int) -> None:
    """Train the first `count` layers of the discriminator no longer (Mo 2020)."""
    state = training.state
    layers = [layer for layer in state.model.networks["discriminator"].layers if list(layer.parameters())]
    frozen = {weight for layer in layers[:count] for weight in layer.requires_grad_(False).parameters()}
    for group in state.optimizers["discriminator"].param_groups if frozen else ():
        group["params"] = [weight for weight in group["params"] if weight not in frozen]
