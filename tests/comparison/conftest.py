"""A small comparison, run once in this process, and rows without runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from equipoise.comparison import execution, plan_runs
from equipoise.comparison.folder import ComparisonFolder, create_or_open
from equipoise.comparison.plan import Arm, ComparisonPlan, PlugSpec, Regime, Task
from equipoise.comparison.plan_files import load_plan
from equipoise.comparison.results import RunResult

TINY = ComparisonPlan(
    arms={"fixed": Arm(), "annealed": Arm(controller=PlugSpec("annealed"))},
    tasks={
        "ring": Task(
            data=PlugSpec("ring", {"std": 0.1}),
            model=PlugSpec("mlp", {"width": 8}),
            steps=12,
            batch_size=32,
            metric=PlugSpec("coverage:samples"),
            reported=PlugSpec("high_quality"),
            also=("modes",),
        )
    },
    regimes={"mis_set": Regime(factors={"lr_d": 4.0})},
    seeds=(0, 1),
    evaluations=4,
    samples=100,
)

SMALL = """
seeds = [0, 1]
samples = 50
evaluations = 3
[arms.fixed]
[arms.annealed]
controller = "annealed"
[tasks.ring]
data = "ring"
model = { name = "mlp", width = 8 }
steps = 12
batch_size = 16
reported = "mixture_modes"
"""


@pytest.fixture(scope="session")
def tiny() -> ComparisonPlan:
    """Two arms in two settings with two seeds."""
    return TINY


@pytest.fixture(scope="session")
def compared(tmp_path_factory: pytest.TempPathFactory) -> ComparisonFolder:
    """A finished comparison. Tests that change it use a copy."""
    folder = ComparisonFolder(tmp_path_factory.mktemp("compared") / "tiny")
    create_or_open(folder, TINY, "seeds = [0, 1]\n")
    for setting in plan_runs.compared_settings(TINY)[:1]:
        execution.execute_anchors(folder, setting)
    for run in plan_runs.compared_runs(TINY):
        assert execution.execute_run(folder, run, lambda: False)
    return folder


@pytest.fixture(scope="session")
def row() -> Callable[..., RunResult]:
    """Create the result of a run whose scores rise evenly to the last one, in 10 CPU seconds."""

    def create(arm: str, seed: int, score: float, task: str = "ring", **fields: Any) -> RunResult:
        curve = tuple((10 * at, score * at / 10, float(at)) for at in range(1, 11))
        state = fields.get("state", "ended")
        final = score if state == "ended" else None
        values: dict[str, Any] = {
            **{"name": f"{task}.{arm}.seed{seed}", "task": task, "regime": "well_set", "arm": arm, "seed": seed},
            **{"trial": None, "state": state, "score": score, "value": final, "metric": "modes", "better": "higher"},
            **{"last": final, "best": final, "last_fifth": final, "spread": 0.0, "cpu": 10.0, "seconds": 11.0},
            **{"steps": 100, "collapse": 0.0, "verdict": "healthy", "rollbacks": 0, "lost": 0, "curve": curve},
            **{"also": {}, "experiment": None, "weights": None},
        }
        return RunResult(**{**values, **fields})

    return create


@pytest.fixture
def parse(tmp_path: Path) -> Callable[[str], ComparisonPlan]:
    """Return a function that parses a plan from its text."""

    def plan(text: str) -> ComparisonPlan:
        path = tmp_path / "plan.toml"
        path.write_text(text)
        return load_plan(path)

    return plan


@pytest.fixture
def small(parse: Callable[[str], ComparisonPlan]) -> ComparisonPlan:
    """Two arms, one task and two seeds."""
    return parse(SMALL)
