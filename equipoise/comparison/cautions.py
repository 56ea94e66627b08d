"""What a reader must know of an arm before its place is believed: told from the logs of its runs.

- It undoes a regime: wherever the regime put a knob, the first decision sets it to the same value, so that it is
  mis-set for the others alone.
- It cannot be tuned so: its first decision undoes a knob that its trials were to try.
- It is blind: it steers by a distance, and no run of the task measured a metric of which less is better.
- It is idle: it turned nothing in any run of the task, for want of a signal or of a reason.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations

from equipoise.comparison import arms, planned
from equipoise.comparison.folder import Folder
from equipoise.comparison.plan import WELL_SET, Plan
from equipoise.comparison.planned import Planned
from equipoise.core import catalog
from equipoise.core.events import REPAIR
from equipoise.runs import run_folder as runs


@dataclass(frozen=True, slots=True)
class Caution:
    """`mark`: what stands beside the arm's name in a table. `text`: the same as a sentence."""

    arm: str
    mark: str
    text: str


@dataclass(frozen=True, slots=True)
class Start:
    """Where the knobs of a run stood: `base` as it was set up, `first` after the first decision."""

    base: Mapping[str, float]
    first: Mapping[str, float]


def cautions(plan: Plan, folder: Folder) -> list[Caution]:
    """All there are, arm by arm; of runs that are not there nothing is said."""
    starts: dict[Planned, Start] = {}
    for run in (*planned.tests(plan), *planned.trials(plan)):
        if (start := _start(folder, run)) is not None:
            starts[run] = start
    return [one for arm in plan.arms for one in (*_regimes(plan, arm, starts), *_search(plan, arm, starts))] + [
        *_blind(plan, folder),
        *_idle(plan, folder),
    ]


def marks(result: Iterable[Caution]) -> dict[str, str]:
    """Arm -> its name with what is to be known of it."""
    told: dict[str, list[str]] = {}
    for one in result:
        told.setdefault(one.arm, []).append(one.mark)
    return {arm: f"{arm} ({', '.join(dict.fromkeys(said))})" for arm, said in told.items()}


def undone(starts: Iterable[Start], knobs: Iterable[str]) -> list[str]:
    """The knobs that were set up differently in some of these runs and stood alike in all of those after a decision."""
    seen = list(starts)
    return [
        knob
        for knob in dict.fromkeys(knobs)
        if (pairs := [(a, b) for a, b in combinations(seen, 2) if a.base.get(knob) != b.base.get(knob)])
        and all(a.first.get(knob) == b.first.get(knob) for a, b in pairs)
    ]


def _start(folder: Folder, run: Planned) -> Start | None:
    """From the log of a run; None where there is none yet."""
    path = folder.run(run)
    lines = runs.Run(path).lines() if (path / runs.EXPERIMENT).exists() else []
    base = next((dict(line["knobs"]) for line in lines if line["event"] == "started"), None)
    if base is None:
        return None
    turned = {line["knob"]: line["to"] for line in lines if line["event"] == "turned" and line["step"] == 0}
    return Start(base, base | turned)


def _regimes(plan: Plan, arm: str, starts: Mapping[Planned, Start]) -> Iterator[Caution]:
    for name, regime in plan.regimes.items():
        result: list[str] = []
        for task in regime.tasks or plan.tasks:
            mine = [
                start
                for run, start in starts.items()
                if run.arm == arm and run.trial is None and run.setting.task == task
                if run.setting.regime in (WELL_SET, name)
            ]
            result += undone(mine, regime.factors)
        if result:
            knobs = ", ".join(dict.fromkeys(result))
            text = f"{arm} is not mis-set by {name} in {knobs}: its first decision sets that, wherever it stood."
            yield Caution(arm, f"undoes {name}", text)


def _search(plan: Plan, arm: str, starts: Mapping[Planned, Start]) -> Iterator[Caution]:
    keys = [key.partition(".") for key in plan.arms[arm].search]
    knobs = [name for owner, _, name in keys if owner != "controller"]
    tried: dict[str, list[Start]] = {}
    for run, start in starts.items():
        if run.arm == arm and run.trial is not None:
            tried.setdefault(run.setting.name, []).append(start)
    result = dict.fromkeys(knob for mine in tried.values() for knob in undone(mine, knobs))
    if result:
        text = f"Trials of {arm} tried {', '.join(result)} in vain: its first decision sets that, wherever it stood."
        yield Caution(arm, "not tuned" if len(result) == len(keys) else "tuned in part", text)


def _blind(plan: Plan, folder: Folder) -> Iterator[Caution]:
    for arm, said in plan.arms.items():
        decide = (catalog.load("controllers", name) for name in arms.links(said.controller))
        if not any(getattr(controller, "sees_distance", False) for controller in decide):
            continue
        yield from _where_never(
            plan,
            folder,
            arm,
            _measures_distance,
            "blind",
            "it steers by a distance, and no live metric there is one of which less is better.",
        )


def _idle(plan: Plan, folder: Folder) -> Iterator[Caution]:
    for arm, said in plan.arms.items():
        if arms.links(said.controller) == ["fixed"]:
            continue
        yield from _where_never(
            plan,
            folder,
            arm,
            _decides,
            "idle",
            "it turned nothing in any run there, for want of a signal that it reads or of a reason, so these are runs "
            "of fixed by another name.",
        )


def _where_never(
    plan: Plan, folder: Folder, arm: str, holds: Callable[[runs.Run], bool], mark: str, why: str
) -> Iterator[Caution]:
    """The caution of an arm that some tasks have runs of, in none of which something holds."""
    mine = _tests(plan, folder, arm)
    tasks = [task for task, group in mine.items() if not any(map(holds, group))]
    if tasks:
        part = mark if len(tasks) == len(mine) else f"{mark} in part"
        yield Caution(arm, part, f"{arm} is {mark} in {', '.join(tasks)}: {why}")


def _tests(plan: Plan, folder: Folder, arm: str) -> dict[str, list[runs.Run]]:
    """Task -> the runs of an arm in it that have begun."""
    result: dict[str, list[runs.Run]] = {}
    for run in planned.tests(plan):
        if run.arm == arm and (folder.run(run) / runs.EXPERIMENT).exists():
            result.setdefault(run.setting.task, []).append(runs.Run(folder.run(run)))
    return result


def _measures_distance(run: runs.Run) -> bool:
    return any(line["better"] == "lower" for line in run.named("evaluated"))


def _decides(run: runs.Run) -> bool:
    """Whether its controller has turned a knob, or may yet."""
    return not run.named("finished") or any(line["by"] != REPAIR for line in run.named("turned"))
