"""Logs of adversarial training with known truth: 500 cases, each made from its number alone.

A case is a kind of run (`_log_healthy`, `_log_faults`), a strength, a length of 30 to 5,000 rows, sometimes gaps, a
restart or losses on another scale, and the form of a well-known program (`_log_forms`). What an expert would say is
part of the kind, not computed from the numbers, and nothing here imports the package.
"""

import gzip
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from _log_curves import Curves, scaled, with_gaps, with_restart
from _log_faults import FAULTS, STRENGTHS
from _log_forms import FORMS
from _log_healthy import HEALTHY, UNKNOWN
from _log_style import choose_style

SEED = 15
HEALTHY_COUNT, UNKNOWN_COUNT = 170, 24
COUNT_BY_STRENGTH = (5, 8, 5)
"""Cases of each fault at each strength; 17 faults make 306, so that all cases are 500."""
SCALABLE = {"sudden collapse", "slow collapse", "collapse of the Inception score", "NaN", "explosion", "plateau"}
"""Faults that a reader recognises although the losses are multiplied by an unknown factor."""
MAX_ROWS = 5000
MIN_ROWS = {"oscillation, losses": 300, "oscillation, FID": 300}
"""A period of 5 % of the run must hold enough rows to be seen."""


class Case(NamedTuple):
    """One synthetic log: its number, its kind, and its strength, empty for runs that are healthy or unknown."""

    number: int
    kind: str
    strength: str = ""


class Truth(NamedTuple):
    """What a careful expert says about a log.

    `names`: one of them must be named, empty if nothing is wrong. `also`: what may be named as well. `verdicts`: those
    that are right, the best first.
    """

    names: tuple[str, ...]
    also: tuple[str, ...]
    verdicts: tuple[str, ...]


class SyntheticLog(NamedTuple):
    """The files of a log by name, its truth, its form, and what was done to it."""

    files: Mapping[str, bytes]
    truth: Truth
    form: str
    changes: tuple[str, ...]
    rows: int


def cases() -> list[Case]:
    """Return all cases in a fixed order."""
    return [Case(number, *kind) for number, kind in enumerate(_kinds())]


def _kinds() -> Iterator[tuple[str, str]]:
    healthy, unknown = list(HEALTHY), list(UNKNOWN)
    yield from ((healthy[index % len(healthy)], "") for index in range(HEALTHY_COUNT))
    yield from ((unknown[index % len(unknown)], "") for index in range(UNKNOWN_COUNT))
    for fault in FAULTS:
        for strength, count in zip(STRENGTHS, COUNT_BY_STRENGTH, strict=True):
            yield from ((fault, strength) for _ in range(count))


def make_log(case: Case) -> SyntheticLog:
    """Make the log of a case; the same case gives the same bytes."""
    rng = np.random.default_rng([SEED, case.number])
    low = MIN_ROWS.get(case.kind, 30)
    rows = int(
        low * (MAX_ROWS / low) ** rng.random() ** 2.5
    )  # half of the logs have less than 80 rows, a seventh more than 1,000
    curves = make_curves(rng, case, rows)
    # A third of the healthy runs does not measure quality: there nobody can say more than that nothing looks wrong.
    if case.kind in HEALTHY and curves.metrics and rng.random() < 0.25 and case.kind not in QUALITY_KINDS:
        curves = Curves(curves.step, curves.signals, {}, curves.others)
    curves, changes = change(rng, case, curves)
    possible = [name for name, form in FORMS.items() if form.can_hold(curves)]
    weights = np.asarray([FORMS[name].weight for name in possible])
    form = str(rng.choice(possible, p=weights / weights.sum()))
    files = {name: text.encode() for name, text in FORMS[form].write(curves, choose_style(rng, curves)).items()}
    if len(files) == 1 and rng.random() < 0.1:
        files = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in files.items()}
        changes = (*changes, "gz")
    return SyntheticLog(files, truth_of(case, curves), form, changes, len(curves.step))


QUALITY_KINDS = {"DCGAN with a low loss of D", "late plateau", "noisy FID", "StyleGAN2 with ADA"}
"""Healthy kinds that are only known to be healthy by their quality."""


def make_curves(rng: np.random.Generator, case: Case, rows: int) -> Curves:
    if case.strength:
        return FAULTS[case.kind].make(rng, rows, STRENGTHS.index(case.strength))
    return (HEALTHY | UNKNOWN)[case.kind](rng, rows)


def change(rng: np.random.Generator, case: Case, curves: Curves) -> tuple[Curves, tuple[str, ...]]:
    """Apply gaps, a restart or another scale to some runs."""
    changes = []
    is_long = len(curves.step) >= 30
    if is_long and rng.random() < 0.15:
        curves = with_gaps(rng, curves)
        changes.append("gaps")
    elif is_long and rng.random() < 0.12 and case.kind not in ("restarted", "NaN"):
        curves = with_restart(rng, curves)
        changes.append("restart")
    if rng.random() < 0.15 and (not case.strength or case.kind in SCALABLE):
        curves = scaled(curves, float(rng.choice([1000.0, 64.0, 0.01])))
        changes.append("scale")
    return curves, tuple(changes)


def truth_of(case: Case, curves: Curves) -> Truth:
    """Return what an expert says: for healthy runs without a metric, that quality is unknown."""
    if case.strength:
        fault = FAULTS[case.kind]
        verdicts = fault.verdicts + (fault.weak_verdicts if case.strength == "weak" else ())
        return Truth(fault.names, fault.also, tuple(dict.fromkeys(verdicts)))
    is_known = case.kind in HEALTHY and bool(curves.metrics)
    return Truth((), ("plateau", "equilibrium"), ("healthy",) if is_known else ("unknown",))
