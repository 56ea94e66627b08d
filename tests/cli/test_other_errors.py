"""Errors of the other commands: overview, list, policies, compare, evaluate, diagnose; and options out of range."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from equipoise.cli import main as cli
from equipoise.core import catalog
from equipoise.errors import SettingError
from equipoise.evaluation.evaluate import evaluate
from equipoise.evaluation.subject import EvaluationRequest
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.policy import files
from equipoise.policy.files import policy_path


def test_unknown_command(error_line) -> None:
    line = error_line("trian", "digits")
    assert "'trian'" in line
    assert "did you mean 'train'?" in line
    assert "train" in error_line("xyz")


def test_unknown_kind_of_list(error_line) -> None:
    assert "'models'" in error_line("list", "model")


@pytest.mark.parametrize("command", ["train", "resume", "sample", "report", "list", "runs"])
def test_unknown_flag_of_any_command(error_line, command: str) -> None:
    needed = {"resume": ["run"], "report": ["run"], "sample": ["run", "--out", "x.png"]}.get(command, [])
    line = error_line(command, *needed, "--jsno")
    assert "'--jsno'" in line
    assert "'--json'" in line


@pytest.mark.parametrize(("words", "named"), [(["resume"], "RUN"), (["sample", "run"], "--out"), (["report"], "RUN")])
def test_missing_argument(error_line, words: list[str], named: str) -> None:
    line = error_line(*words)
    assert named in line
    assert f"equipoise {words[0]} --help" in line


@pytest.mark.parametrize("command", [["resume"], ["report"], ["sample", "--out", "x.png"]])
def test_folder_that_is_not_a_run(
    error_without_changes, tmp_path: Path, working_directory: Path, command: list[str]
) -> None:
    name, *flags = command
    assert "is not a run: it has no experiment.json" in error_without_changes(tmp_path, name, tmp_path, *flags)
    assert "is not a run" in error_without_changes(tmp_path, name, tmp_path / "nowhere", *flags)
    assert list(working_directory.iterdir()) == []


INVALID_POLICIES = [
    ("--controller ppo --policy residual", "the policy 'residual'"),
    ("--controller ppo --policy nowhere.safetensors", "policy 'nowhere.safetensors'"),
    ("--controller ppo --policy {altered}", "digest"),
    ("--controller ppo --policy {knobs}", "'warmth'"),
    ("--controller ppo --policy {features}", "(luck)"),
    ("--controller ppo --policy {text}", "equipoise train-policy"),
    ("--controller ppo --policy=", "--policy is empty"),
    ("--controller ppo --policy ppo --option controller.knobs=warmth", "'warmth'"),
    ("--controller rank --policy ppo", "'rank'"),
    ("--policy ppo", "learnable, ppo, time_only"),
]


@pytest.mark.parametrize(("words", "message"), INVALID_POLICIES, ids=[words for words, _ in INVALID_POLICIES])
def test_invalid_policy(training_error, tmp_path_factory: pytest.TempPathFactory, words: str, message: str) -> None:
    paths = {name: tmp_path_factory.mktemp("policies") / name for name in ("altered", "knobs", "features", "text")}
    content = policy_path("ppo").read_bytes()
    paths["altered"].write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    paths["text"].write_text("not a policy")
    write_changed_policy(content, paths["knobs"], lambda values: values["heads"][0].update(knobs={"warmth": 1.0}))
    write_changed_policy(content, paths["features"], lambda values: values["names"].append("luck"))
    assert message in training_error(*(word.format(**paths) for word in words.split(" ")))


def write_changed_policy(content: bytes, path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Write a policy file with changed JSON and a digest that matches."""
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    values, tensors = json.loads(header["__metadata__"]["policy"]), load(content)
    values.pop("digest")
    change(values)
    values["digest"] = files._digest(values, tensors)
    path.write_bytes(save(tensors, {"policy": json.dumps(values)}))


PLAN = """
seeds = [0]
[arms.fixed]
[tasks.ring]
data = "ring"
steps = 4
reported = "mixture_modes"
"""


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (
            "[arms.fixed]",
            "[arms.fixd]\ncontroller = 'fixd'",
            "controller 'fixd'",
        ),
        ("seeds", 'baseline = "fixd"\nseeds', "did you mean 'fixed'"),
        ("[0]", "[]", "seeds in plan.toml"),
        ("[arms.fixed]", "[arms.fixed]\ntuned_on = ['ring']", "arm 'fixed'"),
        ("steps", "stpes", "did you mean 'steps'?"),
        ("seeds", "seedz", "did you mean 'seeds'?"),
    ],
)
def test_invalid_comparison_plan(error_line, working_directory: Path, before: str, after: str, message: str) -> None:
    (working_directory / "plan.toml").write_text(PLAN.replace(before, after, 1))
    assert message in error_line("compare", "plan.toml")
    assert [path.name for path in working_directory.iterdir()] == ["plan.toml"], "no run was started"


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *(
            (f"{name}.neighbours", value)
            for name in ("precision", "recall", "density", "coverage")
            for value in (0, -1)
        ),
        *(("c_t.cells", -1), ("c_t.cells", 0), ("c_t.least", 0), ("c_t.seed", -1), ("kid.subsets", 0)),
        *(("kid.subset_size", 1), ("inception_score.splits", -1), ("inception_score.splits", 0), ("lpips.pairs", 0)),
        *(("perceptual_efficientnet_lite0.pairs", 0), ("ppl.epsilon", math.nan), ("ppl.epsilon", 0)),
        *(("ppl.trim", 0.5), ("ppl.trim", -0.1)),
    ],
)
def test_metric_option_out_of_range(option: str, wrong: float) -> None:
    name, _, field = option.partition(".")
    with pytest.raises(SettingError, match=f"{field} = {wrong:g}: it must be"):
        catalog.build("metrics", name, {field: wrong})


@pytest.mark.parametrize(
    ("option", "wrong"),
    [
        *(("rank.proportional", math.nan), ("rank.warm_up", -0.1), ("rank.reach", math.inf), ("rank.span", 0)),
        *(("ada.deadband", math.nan), ("ada.target", math.nan), ("ada.step", 0), ("gap_aware.fastest", math.inf)),
        *(("gap_aware.absolute", math.nan), ("random.warm_up", math.nan), ("random.pace", 0), ("ppo.rollout", 0)),
        *(("ppo.leash", math.nan), ("ppo.seed", -1)),
    ],
)
def test_controller_option_out_of_range(option: str, wrong: float) -> None:
    name, _, field = option.partition(".")
    with pytest.raises(SettingError, match=f"{field} = {wrong:g}: it must be"):
        catalog.build("controllers", name, {field: wrong})


def test_samples_that_are_not_finite(error_line, working_directory: Path) -> None:
    samples = np.zeros((40, 2), np.float32)
    samples[3:6] = np.nan
    np.save("invalid.npy", samples)
    line = error_line("evaluate", "invalid.npy", "--against", "ring", "--metrics", "precision:samples,modes")
    assert line.startswith("3 of 40 samples")
    request = EvaluationRequest(samples=Path("invalid.npy"), against="ring", metrics=("precision:samples", "modes"))
    for row in evaluate(request).rows:
        assert row.value is None
        assert row.reason is not None
        assert "3 of 40" in row.reason


def stylegan_log(*kimgs: object) -> str:
    rows = [{"Progress/kimg": {"mean": kimg}, "Loss/G/loss": {"mean": 0.5}} for kimg in kimgs]
    return "".join(json.dumps(row) + "\n" for row in rows)


STUDIOGAN_LINE = "[INFO] > Step:     {step} Progress: {share}% x Discriminator_loss: 2.7 Generator_loss: -5.1 \n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            stylegan_log(None, "many", math.nan, math.inf, 1e300, 10**400),
            "Progress/kimg",
        ),
        (STUDIOGAN_LINE.format(step=10**30, share="1.0"), "Step"),
        (f"FID score (Step: {10**30}, x): 1.5\n", "Step"),
        (f"step,loss_d\n{10**30},0.5\n", "step"),
    ],
)
def test_counter_out_of_range_is_named(
    working_directory: Path, text: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (working_directory / "log").write_text(text)
    assert cli.run(["diagnose", "log"]) == 0, capsys.readouterr().err
    assert f"note: {message} has no number from 0 to " in capsys.readouterr().out


@pytest.mark.parametrize(
    "text",
    [
        stylegan_log(0, None, "many", math.nan, 4.0),
        STUDIOGAN_LINE.format(step=100, share="1..0") + STUDIOGAN_LINE.format(step=200, share="20.0"),
        STUDIOGAN_LINE.format(step=100, share="1..0"),
        f"[{'9' * 200}/{'9' * 200}][1/2]\tLoss_D: 0.5\tLoss_G: 2.5\n".replace(f"[{'9' * 200}/", "[1/"),
    ],
)
def test_log_with_some_malformed_lines(working_directory: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (working_directory / "log").write_text(text)
    assert cli.run(["diagnose", "log"]) == 0, capsys.readouterr().err


def test_log_whose_only_line_is_malformed(error_line, working_directory: Path) -> None:
    (working_directory / "log").write_text("FID score (Step: 200, x): 5.6.4\n")
    assert error_line("diagnose", "log").startswith("log is not a log in a known form; its lines are: FID score")


def test_default_options_are_in_range() -> None:
    """Check default options, and one other choice."""
    for kind in ("metrics", "controllers"):
        for name in catalog.names(kind):  # type: ignore[arg-type]
            catalog.build(kind, name)  # type: ignore[arg-type]
    assert catalog.build("metrics", "precision", {"neighbours": "1"}).neighbours == 1
    assert Experiment(data={"name": "ring", "modes": 5}).data == PlugSpec("ring", {"modes": 5})  # type: ignore[arg-type]
