"""Distillation of a diffusion model into a generator of one or few steps, with a discriminator (Yin et al. 2024).

Yin, Gharbi, Park, Zhang, Shechtman, Durand and Freeman 2024, "Improved Distribution Matching Distillation for Fast
Image Synthesis" (DMD2); Zhou et al. 2024, "Score identity Distillation" (SiD); Song, Dhariwal, Chen and Sutskever 2023,
"Consistency Models". The teacher is a run of a diffusion model: `equipoise train DATA --model distill --from RUN`.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from torch import Generator

from equipoise.core import catalog
from equipoise.core.data import DataSpec
from equipoise.core.knobs import Knobs, check_turnable
from equipoise.core.model import Model
from equipoise.core.teacher import Teacher
from equipoise.core.validation import check_above, check_at_least
from equipoise.errors import SettingError
from equipoise.models._distillation import (
    ADVERSARIAL,
    TEACHER,
    DistillationKnobs,
    DistillationPhases,
    DistillationSettings,
    Objective,
)
from equipoise.nn.denoiser import Denoiser
from equipoise.nn.diffusion_samplers import karras_levels
from equipoise.nn.fake_score import FakeScore

__all__ = ["Distillation"]

LOWEST_LEVEL = 0.002
"""Noise level at which images count as clean (Karras 2022, table 1)."""
FIRST_LEVELS: Mapping[Objective, float] = {"matching": 2.5, "identity": 2.5, "consistency": 20.0, "adversarial": 2.5}
"""Noise level from which the student starts: 2.5 as in SiD. Consistency needs one at which reals look like noise."""

GUIDANCE = 2.0
"""On digits of 16 pixels, after 120 CPU seconds, one seed: kernel distance of a student of one step 0.17 at 1, 0.04 at
1.5, 0.008 at 2; recall 0.86, 0.82, 0.67."""


@dataclass(frozen=True, kw_only=True)
class Distillation:
    """Options of distillation.

    `teacher`: the diffusion model to learn from; filled in from the run of --from. `objective`: what the student learns
    from it: matching of distributions (DMD2), the score identity (SiD), consistency, or nothing but its initial weights
    (adversarial). `steps`: most evaluations of the student per sample; it learns to sample in 1 to `steps`. `start`:
    noise level of its first step; None for 2.5, with consistency 20. `noise_low`: lowest noise level at which reals,
    fakes and scores are compared. `noise_high`: highest one. `alpha`: of the score identity. `intervals`: of noise
    levels, for consistency. `guidance`: weight w of classifier-free guidance of the teacher, whose samples become
    better and less varied with it; 1 for none; None for 2, or for none if the teacher has no labels. `knobs`: values
    that differ from the defaults of the knobs.
    """

    presets: ClassVar[Mapping[str, Mapping[str, object]]] = {
        # The settings for ImageNet 64 in the authors' code; batch size 280. Noise levels: 2 to 98 % of the teacher's.
        "dmd2": {
            "objective": "matching",
            "start": 80.0,
            "noise_low": 0.0032,
            "noise_high": 72.0,
            "guidance": 1.0,
            "knobs": {
                **{"lr_g": 2e-6, "lr_d": 2e-6, "beta1": 0.9, "beta2": 0.999, "discriminator_steps": 5},
                **{"matching_weight": 1.0, "adversarial_weight": 3e-3, "head_weight": 1e-2},
            },
        },
        # The settings in the authors' code, without a discriminator; batch size 256 or more. Noise levels: up to 80 %.
        "sid": {
            "objective": "identity",
            "noise_low": 0.002,
            "noise_high": 24.4,
            "guidance": 1.0,
            "knobs": {
                **{"lr_g": 1e-5, "lr_d": 1e-5, "beta1": 0.0, "beta2": 0.999},
                **{"matching_weight": 1.0, "adversarial_weight": 0.0, "head_weight": 0.0},
            },
        },
    }

    teacher: Teacher | None = None
    objective: Objective = "matching"
    steps: int = 1
    start: float | None = None
    noise_low: float = 0.02
    noise_high: float = 10.0
    alpha: float = 1.2
    intervals: int = 18
    guidance: float | None = None
    knobs: Mapping[str, float] = field(
        default_factory=lambda: {
            **{"lr_g": 2e-4, "lr_d": 5e-4, "beta1": 0.0, "beta2": 0.99, "discriminator_steps": 2},
            **{"ema_half_life": 3000},
        }
    )

    def __post_init__(self) -> None:
        check_at_least(1, steps=self.steps, intervals=self.intervals)
        check_above(LOWEST_LEVEL, start=self.start)
        check_above(0, noise_low=self.noise_low, alpha=self.alpha)
        check_at_least(0, guidance=self.guidance)
        check_above(self.noise_low, noise_high=self.noise_high)

    def build(self, spec: DataSpec, generator: Generator) -> Model[DistillationKnobs]:
        """Build the model for images like `spec`; without a teacher, around an untrained `edm`.

        Raises SettingError for other data, or if the teacher is not a diffusion model.
        """
        teacher = self.teacher or Teacher("edm")
        taught, denoiser = build_teacher(teacher, spec, generator)
        settings = self.settings(spec.shape, self.guidance_of(taught), is_conditional=taught.num_classes > 0)
        phases, turnable = DistillationPhases(settings), self.turnable_knobs(settings)
        check_turnable(self.knobs, turnable, "distill")
        return Model(
            name="distill",
            networks={
                "generator": copy.deepcopy(denoiser),
                "discriminator": FakeScore(copy.deepcopy(denoiser), generator),
                TEACHER: denoiser,
            },
            phases=phases.in_order(),
            knobs=DistillationKnobs().with_values(self.knobs),
            turnable=turnable,
            optimizer=phases.optimizer_settings,
            latent=phases.latent,
            generate=phases.generate,
            logits=phases.logits_of_reals,
            num_classes=taught.num_classes,
            mixed_precision=False,  # the difference of two scores is small
            probability=ADVERSARIAL.probability,
            ideal=lambda knobs: 2 * math.log(2),
            samplings=frozenset({"steps"}),
            frozen={TEACHER: teacher.digest},
            inherits={"generator": "generator", "discriminator.denoiser": "generator", TEACHER: "generator"},
        )

    def guidance_of(self, teacher: Model[Knobs]) -> float:
        """Return the weight of guidance. Raises SettingError if the teacher cannot be guided."""
        can_guide = "guidance" in teacher.samplings
        if self.guidance is None:
            return GUIDANCE if can_guide else 1.0
        if self.guidance != 1 and not can_guide:
            raise SettingError(
                f"guidance = {self.guidance:g} needs a teacher that was trained with labels, some of them withheld, "
                f"and this {teacher.name} was not; omit guidance"
            )
        return self.guidance

    def settings(self, shape: tuple[int, ...], guidance: float, *, is_conditional: bool) -> DistillationSettings:
        """Return what is the same in all steps of a run."""
        first = self.start or FIRST_LEVELS[self.objective]
        return DistillationSettings(
            objective=self.objective,
            levels=karras_levels(self.steps + 1, LOWEST_LEVEL, first)[: self.steps],
            noise=(self.noise_low, self.noise_high),
            alpha=self.alpha,
            boundary=LOWEST_LEVEL,
            intervals=self.intervals,
            shape=shape,
            is_conditional=is_conditional,
            guidance=guidance,
        )

    def turnable_knobs(self, settings: DistillationSettings) -> frozenset[str]:
        """Return the names of the knobs that act: weights only where there is another term."""
        compares_scores = settings.objective in ("matching", "identity")
        inactive = set() if settings.objective != "adversarial" else {"matching_weight"}
        inactive |= set() if compares_scores else {"head_weight"}
        return frozenset(DistillationKnobs.ranges()) - inactive


def build_teacher(teacher: Teacher, spec: DataSpec, generator: Generator) -> tuple[Model[Knobs], Denoiser]:
    """Build the model of a teacher, and return it with its network. Raises SettingError if it is no diffusion model."""
    model: Model[Knobs] = catalog.build("models", teacher.model, teacher.options).build(spec, generator)
    denoiser = model.networks.get("generator")
    if TEACHER in model.networks:
        raise SettingError(
            "distill learns from a diffusion model, and this run is a student of one, which does not denoise; use "
            "--from with the run of its teacher"
        )
    if not isinstance(denoiser, Denoiser):
        raise SettingError(
            f"distill learns from a trained diffusion model, and {teacher.model} is none; use --from with a run of edm "
            "or ddpm"
        )
    return model, denoiser
