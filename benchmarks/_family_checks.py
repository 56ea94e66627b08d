"""Acceptance of the model family: the limit of each check, and whether the results meet it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from _family_measures import PSIS, TRUNCATIONS
from _family_tables import Measured, Runs
from _results import table

FIRST_DCGAN = 1.49
"""Kernel distance of dcgan after 145 s when the limits were set: one seed, on another machine."""


MIN_PRECISION = 0.1
"""Of the best value of a sweep, below which the samples are too far from reals to compare."""


@dataclass(frozen=True)
class Check:
    """One check. `value`: what was measured. `met`: None if something that it needs is not measured."""

    system: str
    limit: str
    value: str = "not measured"
    met: bool | None = None

    def row(self) -> list[str]:
        """Return the table row."""
        verdict = {True: "yes", False: "**no**", None: ""}[self.met]
        return [self.system, self.limit, self.value, verdict]


def compare(system: str, limit: str, values: Sequence[float | None], met: Callable[..., bool], form: str) -> Check:
    """Return a check of some medians, which are formatted one after the other."""
    present = [value for value in values if value is not None]
    if len(present) < len(values):
        return Check(system, limit)
    return Check(system, limit, " against ".join(format(value, form) for value in present), met(*present))


def is_monotone(values: Sequence[float], *, rises: bool) -> bool:
    """Return whether values never fall, or never rise."""
    return all((after >= before) if rises else (after <= before) for before, after in pairwise(values))


def sweep_check(system: str, option: str, runs: Runs, numbers: Sequence[float]) -> Check:
    """Check that precision rises and recall falls along a sweep, in the first seed."""
    limit = f"{option} {', '.join(f'{number:g}' for number in numbers)}: precision never falls, recall never rises"
    if not runs or option not in runs[0]:
        return Check(system, limit)
    points = [runs[0][option][f"{number:g}"] for number in numbers]
    precision, recall = [point["precision"] for point in points], [point["recall"] for point in points]
    value = f"precision {_join(precision)}; recall {_join(recall, '.3f')}"
    if max(precision) < MIN_PRECISION:
        return Check(system, limit, f"{value}: too low to tell")
    return Check(system, limit, value, is_monotone(precision, rises=True) and is_monotone(recall, rises=False))


def _join(values: Sequence[float], form: str = ".2f") -> str:
    return ", ".join(format(value, form) for value in values)


def label_checks(measured: Measured) -> list[Check]:
    """Return the checks of conditional models."""
    agreed = measured.median("digits", "projection", "agrees")
    recalls = [
        [sum(run["class_recall"]) / 10 for run in measured.of_arm("digits", name)] for name in ("acgan", "projection")
    ]
    medians = [sorted(values)[len(values) // 2] if values else None for values in recalls]
    return [
        compare("projection", "at least 97 % of labels confirmed", [agreed], lambda share: share >= 0.97, ".1%"),
        compare("AC-GAN", "recall of a class below projection's", medians, lambda first, second: first < second, ".3f"),
    ]


def residual_checks(measured: Measured) -> list[Check]:
    """Return the checks of SAGAN and BigGAN."""
    sagan, sngan = measured.of_arm("emoji", "sagan"), measured.of_arm("emoji", "sngan")
    upper = sngan[0]["kd_interval"][1] if sngan else None
    kd = measured.median("emoji", "sagan", "kd")
    norm = measured.median("emoji", "sagan", "largest_singular_value")
    gains = "gains of the attention have moved off 0"
    biggan = measured.of_arm("emoji", "biggan")
    ratios = [
        run["orthogonality_after"] / run["orthogonality_before"]
        for name in ("biggan", "biggan, beta 0")
        for run in measured.of_arm("emoji", name)[:1]
    ]
    return [
        compare(
            "SAGAN", "distance at most the end of sngan's interval", [kd, upper], lambda ours, end: ours <= end, ".2f"
        ),
        compare("SAGAN", "singular values at most 1.02", [norm], lambda value: value <= 1.02, ".3f"),
        _gains_check(gains, sagan),
        sweep_check("BigGAN", "truncation", biggan, TRUNCATIONS),
        compare(
            "BigGAN",
            "orthogonality penalty falls to half with its weight, and does not without (final / initial)",
            ratios if len(ratios) == 2 else [None],
            lambda on, off: on <= 0.5 < off,
            ".2f",
        ),
    ]


def _gains_check(limit: str, runs: Runs) -> Check:
    if not runs:
        return Check("SAGAN", limit)
    gains = list(runs[0]["attention_gains"].values())
    return Check("SAGAN", limit, _join(gains, ".3f"), all(abs(gain) > 1e-3 for gain in gains))


def style_checks(measured: Measured) -> list[Check]:
    """Return the checks of networks that grow or have styles."""
    dcgan = measured.median("emoji", "dcgan", "kd")
    checks = [
        compare(
            "ProGAN",
            "distance at most 1.5 times dcgan's",
            [measured.median("emoji", "progan", "kd"), dcgan],
            lambda ours, other: ours <= 1.5 * other,
            ".2f",
        )
    ]
    for system, name in (("StyleGAN", "stylegan"), ("StyleGAN 2", "stylegan2")):
        runs, kd = measured.of_arm("emoji", name), measured.median("emoji", name, "kd")
        limit = f"distance at most {FIRST_DCGAN}, and dcgan's"
        checks += [
            compare(system, limit, [kd, dcgan], lambda ours, other: ours <= min(other, FIRST_DCGAN), ".2f"),
            sweep_check(system, "psi", runs, PSIS[:-1]),
            compare(
                system,
                "psi 0: one image (largest difference)",
                [measured.median("emoji", name, "psi_0_difference")],
                lambda difference: difference < 1e-4,
                ".1g",
            ),
        ]
    lengths = [measured.median("emoji", name, "path_length") for name in ("stylegan2, path length", "stylegan2")]
    before, after = (measured.median("emoji", "stylegan3", f"eq_t_{moment}") for moment in ("before", "after"))
    return [
        *checks,
        compare("StyleGAN 2", "path length in w shorter with its penalty", lengths, lambda on, off: on < off, ".1f"),
        compare("StyleGAN 3", "EQ-T at least 45 dB before training", [before], lambda value: value >= 45, ".1f"),
        compare("StyleGAN 3", "EQ-T after training (limit set here: 45 dB)", [after], lambda value: value >= 45, ".1f"),
    ]


def loss_checks(measured: Measured) -> list[Check]:
    """Return the checks of R3GAN's loss."""
    grid = measured.of_arm("modes", "grid, R1 + R2")
    ring = measured.of_arm("modes", "ring, R1")
    failures = sum(run["modes"] < run["of_modes"] or run["high_quality"] < 0.5 for run in ring)
    kds = [measured.median("emoji", name, "kd") for name in ("dcgan, R3GAN's loss", "dcgan")]
    counts = [measured.median("modes", "grid, R1 + R2", name) for name in ("modes", "high_quality")]
    limit = "25 of 25 modes of the grid, at least 90 % of samples good"
    lost = "without R2, at least 1 of 5 runs on the ring loses a mode or half of the samples"
    return [
        Check("R3GAN", limit)
        if not grid
        else Check("R3GAN", limit, f"{counts[0]:.0f} modes, {counts[1]:.1%}", counts[0] == 25 and counts[1] >= 0.9),  # type: ignore[operator]
        compare("R3GAN", "its loss on dcgan's networks within 15 %", kds, lambda a, b: a <= 1.15 * b, ".2f"),
        Check("R3GAN", lost) if not ring else Check("R3GAN", lost, f"{failures} of {len(ring)}", failures >= 1),
    ]


def small_data_checks(measured: Measured) -> list[Check]:
    """Return the checks of FastGAN on 100 images, of Projected GAN, and of arithmetic in w."""
    row = "100 emoji"
    names = ("fastgan", "dcgan", "fastgan, no excitation", "fastgan, no decoder")
    fast, plain, flat, _ = (measured.median(row, name, "kd") for name in names)
    authentic = [measured.median(row, name, "authentic") for name in ("fastgan", "fastgan, no decoder")]
    large = [measured.median("emoji 64", name, "kd") for name in ("projected", "dcgan")]
    swaps = [run["swaps"] for run in measured.of_arm("digits", "stylegan2")]
    limit = "sums of styles: at least 80 % on the intended digit"
    shares = [sum(each.values()) / len(each) for each in swaps]
    details = ", ".join(f"{name} {share:.0%}" for name, share in swaps[0].items()) if swaps else ""
    return [
        compare("FastGAN", "distance below dcgan's on the same 100", [fast, plain], lambda a, b: a < b, ".2f"),
        compare("FastGAN", "fewer copies with its decoder (no copies, %)", authentic, lambda on, off: on > off, ".1f"),
        compare("FastGAN", "worse without excitation", [flat, fast], lambda off, on: off > on, ".2f"),
        compare("Projected GAN", "distance not above dcgan's, on MobileNetV2", large, lambda a, b: a <= b, ".2f"),
        Check("arithmetic", limit)
        if not shares
        else Check("arithmetic", limit, f"{shares[0]:.0%}: {details}", shares[0] >= 0.8),
    ]


def checks_table(measured: Measured) -> str:
    """Return the table of all checks."""
    groups = (label_checks, residual_checks, style_checks, loss_checks, small_data_checks)
    rows = [check.row() for group in groups for check in group(measured)]
    return table(("system", "limit", "measured", "met"), rows)
