"""Weights of a run: the best are the final ones, and every command takes those of any checkpoint."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import equipoise
from equipoise.core.events import Event, Finished
from equipoise.errors import CheckpointError, RunError, SettingError
from equipoise.experiment import launch
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.inference.run_weights import find_best_step, find_run, is_run, parse_step, summarize_weights
from equipoise.metrics.mixture_modes import MixtureModes
from equipoise.runs.annotations import choose_step
from equipoise.runs.run import Run
from equipoise.training import checkpoint
from equipoise.training.weight_files import read_steps

VALUES = {4: 1.0, 8: 3.0, 12: 2.0, 16: 5.0, 20: 4.0, 24: 0.5}
"""Step -> value of the metric; higher is better. Checkpoints are due after 10, 20 and 24 steps."""


def measured(monkeypatch: pytest.MonkeyPatch, values: dict[int, float] = VALUES, start: int = 0) -> None:
    """Let the metric return these values, of the evaluations after step `start`."""
    remaining = iter([value for step, value in values.items() if step > start])
    monkeypatch.setattr(MixtureModes, "value", lambda metric, statistics, fake: next(remaining))


def experiment(**settings: object) -> Experiment:
    settings = {"steps": 24, "save_every": 10, "evaluate_every": 4, "metric": "mixture_modes", **settings}
    return complete(Experiment(data="ring", model=PlugSpec("mlp", {"width": 4}), batch_size=8, **settings))


def follow(events: Iterator[Event], folder: Path) -> dict[int, list[int]]:
    """Follow a run; return step -> steps of the checkpoints after it was saved."""
    return {event.step: steps_of(folder) for event in events if type(event).__name__ == "Saved"}


def steps_of(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in checkpoint.find(folder / "checkpoints")]


@pytest.fixture(scope="module")
def best_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of 24 steps whose best evaluation is after 16. Read only."""
    folder = tmp_path_factory.mktemp("best") / "run"
    with pytest.MonkeyPatch.context() as monkeypatch:
        measured(monkeypatch)
        saved = follow(launch.start(experiment(), folder), folder)
    assert saved == {4: [4], 8: [8], 10: [8, 10], 16: [10, 16], 20: [10, 16, 20], 24: [10, 16, 20, 24]}
    return folder


def weights(folder: Path, step: object = None) -> torch.Tensor:
    return torch.cat([value.flatten() for value in equipoise.load(folder, step).networks["generator"].parameters()])


def test_final_weights_are_the_best(best_run: Path) -> None:
    assert read_steps(best_run / "generator.safetensors") == (16, 24)
    assert read_steps(best_run / "discriminator.safetensors") == (16, 24)
    assert [equipoise.load(best_run, step).step for step in (None, "best", "last", 10, 20)] == [16, 16, 24, 10, 20]
    assert torch.equal(weights(best_run), weights(best_run, "best"))
    assert torch.equal(weights(best_run, 24), weights(best_run, "last"))
    assert not torch.equal(weights(best_run), weights(best_run, "last"))
    assert equipoise.load(best_run / "checkpoints" / "step-00000010").step == 10
    assert equipoise.load(str(best_run / "checkpoints" / "step-20")).step == 20


def test_extra_checkpoints_change_no_weights(best_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`keep="last"` saves at regular steps only, and ends with the last weights."""
    measured(monkeypatch)
    saved = follow(launch.start(experiment(keep="last"), tmp_path / "run"), tmp_path / "run")
    assert saved == {10: [10], 20: [10, 20], 24: [10, 20, 24]}
    assert read_steps(tmp_path / "run" / "generator.safetensors") == (24, 24)
    for step in (10, 20, 24):
        assert torch.equal(weights(tmp_path / "run", step), weights(best_run, step))
    with pytest.raises(CheckpointError, match=r"no weights of step 16 \(the best by mixture_modes\).*: 10, 20, 24$"):
        equipoise.load(tmp_path / "run", "best")


def test_resumed_run_continues_from_its_last_step(
    best_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends with the same bytes as an uninterrupted one, whether it stops before, at or after the best step."""
    for stop in (7, 16, 21, 24):
        folder = tmp_path / str(stop)
        measured(monkeypatch)
        count = iter(range(100))
        follow(launch.start(experiment(), folder, lambda count=count, stop=stop: next(count) >= stop), folder)
        assert Run(folder).lines()[-1]["step"] == stop
        measured(monkeypatch, start=stop)
        follow(launch.resume(str(folder)), folder)
        assert read_steps(folder / "generator.safetensors") == (16, 24)
        for name in ("generator", "discriminator"):
            expected = (best_run / f"{name}.safetensors").read_bytes()
            assert (folder / f"{name}.safetensors").read_bytes() == expected, stop
        assert 16 in steps_of(folder)


def test_extended_run_may_find_better_weights(best_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(shutil.copytree(best_run, tmp_path / "run"))
    measured(monkeypatch, {28: 4.5, 32: 9.0, 34: 1.0})
    follow(launch.resume(folder, 34), folder)
    assert read_steps(folder / "generator.safetensors") == (32, 34)
    assert 16 not in steps_of(folder)
    assert 32 in steps_of(folder)


def test_newer_checkpoint_supersedes_final_weights(best_run: Path, tmp_path: Path, monkeypatch) -> None:
    """A run that is extended, and killed, loads its newest checkpoint; its best one is still available."""
    folder = Path(shutil.copytree(best_run, tmp_path / "run"))
    measured(monkeypatch, {28: 0.0, 32: 0.0})
    events = launch.resume(folder, 34)
    next(event for event in events if event.step == 31)
    events.close()
    assert equipoise.load(folder).step == 30
    assert [equipoise.load(folder, step).step for step in ("best", "last", 16)] == [16, 30, 16]


def test_damaged_best_checkpoint_leaves_the_last_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch)
    for event in launch.start(experiment(), tmp_path / "run"):
        if event.step == 17:
            (tmp_path / "run" / "checkpoints" / "step-00000016" / "tensors.safetensors").write_bytes(b"")
        assert not isinstance(event, Finished) or event.reason == "steps"
    assert read_steps(tmp_path / "run" / "generator.safetensors") == (24, 24)
    assert "step 24, the last; step 16 was the best" in summarize_weights(tmp_path / "run").text


def test_best_weights_outlive_their_checkpoint(best_run: Path, tmp_path: Path) -> None:
    """A finished run whose checkpoint of the best step was deleted can be resumed: it keeps its final weights."""
    folder = Path(shutil.copytree(best_run, tmp_path / "run"))
    shutil.rmtree(folder / "checkpoints" / "step-00000016")
    follow(launch.resume(folder), folder)
    for name in ("generator", "discriminator"):
        assert (folder / f"{name}.safetensors").read_bytes() == (best_run / f"{name}.safetensors").read_bytes()
    assert equipoise.load(folder, "best").step == 16


def test_missing_steps_are_reported(best_run: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no weights of step 4: .*; available: 10, 16 \(best\), 20, 24$"):
        equipoise.load(best_run, 4)
    with pytest.raises(SettingError, match=r"give the run, .*run, with --step 20"):
        equipoise.load(best_run / "checkpoints" / "step-00000010", 20)
    with pytest.raises(SettingError, match="there is no step 'worst'; use best, last, chosen, or a number of steps"):
        parse_step("worst")
    with pytest.raises(RunError, match="is not a run"):
        equipoise.load(best_run / "samples")


def test_best_step_needs_a_metric(tmp_path: Path) -> None:
    follow(launch.start(experiment(metric="none", steps=4), tmp_path / "run"), tmp_path / "run")
    assert summarize_weights(tmp_path / "run").text == ""
    assert equipoise.load(tmp_path / "run", "last").step == 4
    with pytest.raises(CheckpointError, match="has no evaluations, so no best step; use --step last"):
        equipoise.load(tmp_path / "run", "best")


def test_summary_names_the_best_step_and_a_command(best_run: Path) -> None:
    summary = summarize_weights(best_run)
    assert (summary.weights_step, summary.best) == (16, find_best_step(Run(best_run)))
    command = f"equipoise sample {best_run}"
    assert summary.text == (
        f"weights: step 16, the best by mixture_modes (5): {command} --out OUT; "
        f"those of the last step: {command} --step last --out OUT"
    )


def test_paths_of_runs(best_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_run(best_run) == (Run(best_run), None)
    assert find_run(best_run / "checkpoints" / "step-00000010")[1] == 10
    assert is_run(best_run / "checkpoints" / "step-10")
    assert not is_run(best_run / "samples")
    monkeypatch.chdir(best_run / "checkpoints")
    run, step = find_run("step-00000010")
    assert (run.name, step) == ("run", 10)


@pytest.mark.parametrize(
    "words",
    [
        ("sample", "--count", "2", "--out", "a.csv"),
        ("interpolate", "--out", "a.npy"),
        ("arithmetic", "--plus", "1", "--out", "a.npy"),
        ("export", "--format", "safetensors", "--out", "a"),
    ],
)
def test_commands_take_checkpoints(call: Callable[..., tuple[int, str, str]], best_run: Path, words) -> None:
    command, *rest = words
    contents = []
    for run in ((best_run, "--step", "10"), (best_run / "checkpoints" / "step-10",), (best_run,)):
        code, _, err = call(command, *run, *rest, "--force")
        assert (code, err) == (0, "")
        contents.append(next(path for path in sorted(Path().rglob("*")) if path.is_file()).read_bytes())
    assert contents[0] == contents[1] != contents[2]
    code, out, err = call(command, best_run, "--step", "10", *rest)
    assert (code, out) == (2, "")
    assert "exist" in err
    assert "--force" in err


def test_flipped_bits_are_reported(call: Callable[..., tuple[int, str, str]], best_run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(best_run, tmp_path / "run"))
    content = bytearray((folder / "generator.safetensors").read_bytes())
    content[-3] ^= 64
    content[-40] ^= 64
    (folder / "generator.safetensors").write_bytes(content)
    code, out, err = call("sample", folder, "--out", "x.csv")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "generator.safetensors is damaged: its checksum differs" in err
    assert call("sample", folder, "--step", "best", "--out", "x.csv")[0] == 0
    (folder / "checkpoints" / "step-00000024" / "state.json").write_bytes(
        (folder / "checkpoints" / "step-00000024" / "state.json")
        .read_bytes()
        .replace(b'"images": 192', b'"images": 193')
    )
    code, out, err = call("sample", folder, "--step", "last", "--out", "y.csv")
    assert (code, out) == (2, "")
    assert "step-00000024/state.json was altered" in err


def test_the_chosen_step(best_run: Path, tmp_path: Path, error_line: Callable[..., str]) -> None:
    folder = Path(shutil.copytree(best_run, tmp_path / "run"))
    remedy = r"no step of .*run was chosen; choose one in equipoise studio, or use --step best, last or N"
    with pytest.raises(CheckpointError, match=remedy):
        equipoise.load(folder, "chosen")
    choose_step(folder, 10)
    assert equipoise.load(folder, "chosen").step == 10
    assert torch.equal(weights(folder, "chosen"), weights(folder, 10))
    choose_step(folder, 8)
    message = error_line("sample", folder, "--step", "chosen", "--out", tmp_path / "points.csv")
    assert "no weights of step 8 (the chosen one)" in message
    assert "available: 10, 16 (best), 20, 24" in message
    (folder / "chosen.json").write_text("nonsense")
    assert "chosen.json cannot be read" in error_line(
        "export", folder, "--step", "chosen", "--format", "torch", "--out", tmp_path / "out"
    )


def test_the_checkpoint_of_the_chosen_step_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch)
    events, folder = launch.start(experiment(), tmp_path / "run"), tmp_path / "run"
    saved = {}
    for event in events:
        if type(event).__name__ == "Saved":
            saved[event.step] = steps_of(folder)
            if event.step == 4:
                choose_step(folder, 4)
    assert saved == {4: [4], 8: [4, 8], 10: [4, 8, 10], 16: [4, 10, 16], 20: [4, 10, 16, 20], 24: [4, 10, 16, 20, 24]}
