"""Selection of the weights of a run: the final ones, or those of one of its checkpoints.

A path to a run, RUN, selects its final weights, or those of the newest checkpoint if the run has not finished. A path
to a checkpoint, RUN/checkpoints/step-N, or a step, selects the weights after that step. A person may have chosen one.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from equipoise.core.validation import as_path, whole_number
from equipoise.errors import CheckpointError, SettingError, shell_path
from equipoise.runs.annotations import CHOSEN_FILE, read_chosen
from equipoise.runs.run import CHECKPOINTS_FOLDER, EVENTS_FILE, EXPERIMENT_FILE, EventLine, Run
from equipoise.training import checkpoint
from equipoise.training.checkpoint import Checkpoint
from equipoise.training.weight_files import FinalWeights, read_steps, read_weights, weights_path

StepChoice = int | Literal["best", "last", "chosen"]
"""A step of a run: a number, `best` for the evaluation with the best metric, `last` for the newest weights, `chosen`
for the step that a person chose (RUN/chosen.json)."""


@dataclass(frozen=True, slots=True, eq=False)
class RunWeights:
    """Selected weights of a run. `checkpoint`: the checkpoint that contains them; None for the final weights."""

    run: Run
    checkpoint: Checkpoint | None

    def network(self, name: str, *, averaged: bool = True) -> "NetworkWeights":
        """Read the weights of one network; `averaged`: of its running average, for a checkpoint that has both.

        A missing file of final weights is replaced by the checkpoint of their step. Raises CheckpointError if the
        weights cannot be read.
        """
        saved = self.checkpoint
        path = weights_path(self.run.folder, name)
        if saved is None and path.exists():
            return NetworkWeights(read_weights(path), str(path))
        if saved is None:
            steps = _final_steps(self.run)
            source = self.run.checkpoints / checkpoint.folder_name(steps[0] if steps else 0)
            if not source.is_dir():
                raise CheckpointError(f"{path} is missing; restore it, or use the weights of a checkpoint: --step last")
            saved = checkpoint.read(source)
        source = self.run.checkpoints / checkpoint.folder_name(saved.step)
        return NetworkWeights(FinalWeights(saved.network(name, averaged=averaged), saved.step, saved.step), str(source))


@dataclass(frozen=True, slots=True)
class NetworkWeights:
    """The weights of one network, and the file or checkpoint that they are from."""

    weights: FinalWeights
    source: str


@dataclass(frozen=True, slots=True)
class BestStep:
    """The evaluation of a run with the best value of the metric."""

    step: int
    metric: str
    value: float


def find_run(path: str | Path) -> tuple[Run, int | None]:
    """Return the run of a path, RUN or RUN/checkpoints/step-N, and the step of the latter; None for the former."""
    folder = as_path(path, "the run folder")
    match = re.fullmatch(r"step-0*(\d+)", folder.name)
    if not match or (folder / EXPERIMENT_FILE).exists():
        return Run(folder), None
    parent = folder.parent if folder.parent.name else folder.parent.resolve()
    if parent.name != CHECKPOINTS_FOLDER:
        return Run(folder), None
    return Run(parent.parent), int(match[1])


def is_run(path: str | Path) -> bool:
    """Return whether a path is a run or a checkpoint of one."""
    return (find_run(path)[0].folder / EXPERIMENT_FILE).exists()


def parse_step(text: str) -> StepChoice:
    """Parse a step: a number, `best`, `last` or `chosen`. Raises SettingError for anything else."""
    match text:
        case "best" | "last" | "chosen":
            return text
    if text.isascii() and text.isdigit():
        return int(text)
    raise SettingError(f"there is no step '{text}'; use best, last, chosen, or a number of steps")


def saved_steps(run: Run) -> list[int]:
    """Return the steps of the checkpoints of a run, ascending."""
    return [int(path.name.removeprefix("step-")) for path in checkpoint.find(run.checkpoints)]


def files_of_selection(run: Run, step: StepChoice | None) -> list[Path]:
    """Return the files and folders that decide which weights a step selects: if none changes, neither do the weights.

    Some may not exist.
    """
    if isinstance(step, int):
        return [run.folder / EXPERIMENT_FILE, run.checkpoints / checkpoint.folder_name(step)]
    paths = [run.folder / EXPERIMENT_FILE, run.checkpoints, weights_path(run.folder, "generator")]
    own = {"best": EVENTS_FILE, "chosen": CHOSEN_FILE}.get(step or "")
    return paths if own is None else [*paths, run.folder / own]


def find_best_step(run: Run) -> BestStep | None:
    """Return the best finite evaluation of a run, the first of equal ones; None if it has none."""
    lines = [line for line in run.lines("evaluated") if math.isfinite(float(line["value"]))]
    best = min(lines, key=_rank, default=None)
    return None if best is None else BestStep(best["step"], best["metric"], float(best["value"]))


def select_weights(path: str | Path, step: StepChoice | None = None) -> RunWeights:
    """Select weights by a path to a run or checkpoint, and optionally a step.

    None: the step of the path, or the final weights of a run, or its newest checkpoint if that was written later.
    Raises RunError if the path is not a run, CheckpointError if the weights do not exist or cannot be read,
    SettingError if path and `step` contradict each other.
    """
    run, path_step = find_run(path)
    if isinstance(step, str):
        step = parse_step(step)
    elif step is not None:
        step = whole_number("step", step)
    if not (run.folder / EXPERIMENT_FILE).exists():
        run.experiment()  # raises the error of a folder that is not a run
    if path_step is not None:
        if step is not None and step != path_step:
            raise SettingError(
                f"{path} is the checkpoint of step {path_step}; give the run, {run.folder}, with --step {step}"
            )
        return _at_step(run, path_step)
    if step is None or step == "last":
        return _newest(run, prefer_final=step is None)
    if step == "best":
        best = find_best_step(run)
        if best is None:
            raise CheckpointError(f"{run.folder} has no evaluations, so no best step; use --step last, or a number")
        return _at_step(run, best.step, f" (the best by {best.metric})")
    if step == "chosen":
        chosen = read_chosen(run.folder)
        if chosen is None:
            raise CheckpointError(
                f"no step of {run.folder} was chosen; choose one in equipoise studio, or use --step best, last or N"
            )
        return _at_step(run, chosen.step, " (the chosen one)")
    return _at_step(run, step)


def _newest(run: Run, *, prefer_final: bool) -> RunWeights:
    """Select the newest weights. `prefer_final`: the final ones if no checkpoint is newer than the end of the run."""
    saved = checkpoint.find(run.checkpoints)
    steps = _final_steps(run, damaged_is_missing=bool(saved) and not prefer_final)
    if steps is not None:
        step, last_step = steps
        if not saved or saved[-1].name <= checkpoint.folder_name(last_step if prefer_final else step - 1):
            return RunWeights(run, None)
    if not saved:
        raise CheckpointError(f"{run.folder} has no weights yet; train until its first checkpoint")
    return RunWeights(run, checkpoint.read(saved[-1]))


def _at_step(run: Run, step: int, reason: str = "") -> RunWeights:
    """Select the weights after a step. Raises CheckpointError, which lists the steps that exist, if there are none."""
    path = run.checkpoints / checkpoint.folder_name(step)
    if path.is_dir():
        return RunWeights(run, checkpoint.read(path))
    steps = _final_steps(run)
    if steps is not None and steps[0] == step:
        return RunWeights(run, None)
    raise CheckpointError(
        f"{run.folder} has no weights of step {step}{reason}: the last three checkpoints and the best one are kept; "
        f"available: {_format_steps(run, steps)}"
    )


def _final_steps(run: Run, *, damaged_is_missing: bool = False) -> tuple[int, int] | None:
    """Return the step of the final weights and the last step of the run; None without final weights."""
    paths = sorted(path for path in run.folder.glob("*.safetensors") if not path.name.startswith("."))
    if not paths:
        return None
    generator = weights_path(run.folder, "generator")
    try:
        return read_steps(generator if generator in paths else paths[0])
    except CheckpointError:
        if damaged_is_missing:
            return None
        raise


def _format_steps(run: Run, final: tuple[int, int] | None) -> str:
    """Format the steps that can be selected: "250, 500 (best), 750"."""
    steps = set(saved_steps(run))
    steps |= set() if final is None else {final[0]}
    best = find_best_step(run)
    marked = [f"{step} (best)" if best is not None and step == best.step else str(step) for step in sorted(steps)]
    return ", ".join(marked) or "none"


def _rank(line: EventLine) -> float:
    return float(line["value"]) * (1 if line["better"] == "lower" else -1)


@dataclass(frozen=True, slots=True)
class WeightsSummary:
    """Which weights a run ended with, and which are the best.

    `text`: for people, with a command; "" without evaluations. `weights_step`: step of the final weights; None without
    any. `best`: None without evaluations.
    """

    text: str
    weights_step: int | None
    best: BestStep | None


def summarize_weights(folder: Path) -> WeightsSummary:
    """Summarise the final weights and the best step of a run that has ended."""
    run = Run(folder)
    best, final = find_best_step(run), _final_steps(run)
    step = None if final is None else final[0]
    if best is None:
        return WeightsSummary("", step, None)
    value = f"the best by {best.metric} ({best.value:.4g})"
    samples = run.lines("sampled")
    translates = bool(samples) and "input" in samples[-1].get("shows", ())
    command = f"equipoise {'translate' if translates else 'sample'} {shell_path(folder)}{' INPUT' * translates}"
    if final is not None and step == best.step:
        other = f"; those of the last step: {command} --step last --out OUT" if final[1] != step else ""
        text = f"weights: step {best.step:,}, {value}: {command} --out OUT{other}"
    else:
        is_available = (run.checkpoints / checkpoint.folder_name(best.step)).is_dir()
        use = f": {command} --step best --out OUT" if is_available else ", whose checkpoint was not kept"
        text = f"weights: step {step:,}, the last; " if step is not None else "no final weights; "
        text += f"step {best.step:,} was {value}{use}"
    return WeightsSummary(text, step, best)
