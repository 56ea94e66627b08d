"""One run of two processes: killed, stopped, started by torchrun, resumed by another number; and what is refused."""

import dataclasses
import errno
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from equipoise.core.events import Finished, Stepped
from equipoise.core.world import World
from equipoise.errors import CheckpointError, LostProcessError, RunError, SettingError
from equipoise.experiment import launch, processes, rendezvous, resources, together
from equipoise.experiment.completion import complete
from equipoise.experiment.settings import Experiment, PlugSpec
from equipoise.runs.run import Run
from equipoise.training import checkpoint

STEPS = 40
TIMEOUT = 240.0
ARGUMENTS = (
    *("train", "digits", "--model", "dcgan", "--option", "width=4", "latent_dim=6", "--image-size", "16"),
    *("--steps", str(STEPS), "--batch-size", "8", "--precision", "fp32", "--controller", "annealed", "--threads", "1"),
    *("--sample-every", "20", "--evaluate-every", "1000", "--save-every", "5", "--set", "augment_p=linear(0, 0.5)"),
    *("--metric", "none", "--no-film"),
)
EXPERIMENT = Experiment(
    data=PlugSpec("digits", {"image_size": 16}),
    model=PlugSpec("dcgan", {"width": 4, "latent_dim": 6}),
    controller=PlugSpec("annealed"),
    metric=PlugSpec("none"),
    knobs={"augment_p": "linear(0, 0.5)"},
    steps=STEPS,
    batch_size=8,
    precision="fp32",
    threads=1,
    sample_every=20,
    evaluate_every=1000,
    save_every=5,
    devices=2,
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two processes that was not interrupted."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    *_, last = launch.start(complete(EXPERIMENT), folder)
    assert (last.reason, last.step, last.images) == ("steps", STEPS, STEPS * 8)
    return folder


def child_of(process: subprocess.Popen[str]) -> int:
    """Return the process id of the only child."""
    (child,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(child)


def follower_of(pid: int) -> int:
    """Return the process id of the child that takes part in a run as process 1."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    (child,) = (one for one in children if b"\0RANK=1\0" in Path(f"/proc/{one}/environ").read_bytes())
    return int(child)


def resumes(folder: Path) -> Finished:
    """Resume in this process and a new one."""
    *_, last = launch.resume(folder)
    assert isinstance(last, Finished)
    return last


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_a_run_whose_processes_are_killed_in_turn_ends_with_the_same_bytes(
    tmp_path: Path, whole: Path, start_process, wait_until, assert_equal_runs
) -> None:
    folder = tmp_path / "run"
    process = start_process(*ARGUMENTS, "--devices", "2", "--out", folder)
    wait_until(lambda: len(checkpoint.find(folder / "checkpoints")) >= 2, process)
    os.kill(child_of(process), signal.SIGKILL)
    _, errors = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 2
    last = errors.splitlines()[-1]
    assert "process 1 of 2 was killed by signal 9" in last
    assert f"equipoise resume {folder}" in last
    assert errors.count("equipoise: ") == 1

    before = checkpoint.find(folder / "checkpoints")[-1]
    process = start_process("resume", folder, "--no-film")
    wait_until(lambda: checkpoint.find(folder / "checkpoints")[-1] > before, process)
    process.kill()
    _, errors = process.communicate(timeout=TIMEOUT)  # ends when the other process has closed its output, too
    assert errors.count("equipoise: ") == 1
    assert "process 0 of 2 has ended" in errors
    assert f"equipoise resume {folder}" in errors

    assert resumes(folder).reason == "steps"
    assert_equal_runs(folder, whole)


def test_a_run_that_is_stopped_and_resumed_ends_with_the_same_bytes(tmp_path: Path, whole: Path, final_bytes) -> None:
    folder, steps = tmp_path / "run", [0]
    for event in launch.start(complete(EXPERIMENT), folder, interrupted=lambda: steps[-1] == 7):
        if isinstance(event, Stepped):
            steps.append(event.step)
    assert isinstance(event, Finished)
    assert (event.reason, event.step) == ("interrupted", 7)
    assert resumes(folder).reason == "steps"
    assert final_bytes(folder) == final_bytes(whole)


@pytest.mark.skipif(sys.platform != "linux", reason="finds child processes in /proc")
def test_ctrl_c_and_sigterm_to_one_process_stop_a_run_that_then_ends_with_the_same_bytes(
    tmp_path: Path, whole: Path, start_process, wait_until, final_bytes
) -> None:
    """Ctrl-C in a terminal reaches all processes at once; then SIGTERM process 1 alone."""
    folder = tmp_path / "run"
    process = start_process(*ARGUMENTS, "--devices", "2", "--out", folder)
    wait_until(lambda: len(checkpoint.find(folder / "checkpoints")) >= 2, process)
    for pid in (process.pid, child_of(process)):
        os.kill(pid, signal.SIGINT)
    output, errors = process.communicate(timeout=TIMEOUT)
    step = int(checkpoint.find(folder / "checkpoints")[-1].name.removeprefix("step-"))
    assert process.returncode == 130, errors
    assert f"stopped after step {step}; everything is saved. Resume with: equipoise resume {folder}" in output
    assert errors.count("saving after this step") == 1
    assert not any(text in errors for text in ("Traceback", "equipoise: "))

    for event in launch.resume(folder):
        if isinstance(event, Stepped) and event.step == step + 3:
            os.kill(follower_of(os.getpid()), signal.SIGTERM)
    assert isinstance(event, Finished)
    assert (event.reason, event.step in range(step + 4, step + 7)) == ("interrupted", True)
    assert checkpoint.find(folder / "checkpoints")[-1].name == f"step-{event.step:08d}"
    assert resumes(folder).reason == "steps"
    assert final_bytes(folder) == final_bytes(whole)


THREADS_AFTER_A_CONNECTION = """
import os, sys, torch
from equipoise.experiment.rendezvous import connect
with connect(2) as connection:
    torch.optim.Adam([torch.zeros(3)]).step()  # imports what torch imports late
    connection.world.add(torch.ones(3))
names = [open(f"/proc/self/task/{task}/comm").read().strip() for task in os.listdir("/proc/self/task")]
sys.exit(any("gloo" in name for name in names))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds threads in /proc")
def test_threads_of_the_connection_end_with_it(tmp_path: Path) -> None:
    """One that goes on may ask for the interpreter while that ends, and abort the process."""
    places = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", processes.RENDEZVOUS: str(tmp_path / "store")}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", THREADS_AFTER_A_CONNECTION],
            env={**os.environ, **places, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    assert [rank.wait(TIMEOUT) for rank in ranks] == [0, 0]


@pytest.mark.parametrize("is_quota", [False, True])
def test_a_disk_that_is_full_for_process_0_stops_all_and_the_run_can_be_resumed(
    is_quota: bool, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch, final_bytes
) -> None:
    """While the second checkpoint is written; and where no file may grow, also that of the rendezvous."""
    folder, save, paths = tmp_path / "run", checkpoint.save_file, []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)

    def full(tensors: object, path: Path) -> None:
        paths.append(path)
        if len(paths) == 2 and not is_quota:
            path.write_bytes(b"half of it")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if len(paths) == 2:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
        save(tensors, path)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", full)
        try:
            with pytest.raises(RunError) as caught:
                list(launch.start(complete(EXPERIMENT), folder))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    expected = f"cannot write to {folder}: File too large" if is_quota else f"the disk of {folder} is full; free some"
    assert str(caught.value).startswith(expected)
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["step-00000005"]
    assert resumes(folder).reason == "steps"
    assert final_bytes(folder) == final_bytes(whole)


def test_torchrun_starts_the_same_run_and_passes_on_ctrl_c(
    tmp_path: Path, whole: Path, final_bytes, wait_until
) -> None:
    folder = tmp_path / "run"
    script = "import sys; from torch.distributed.run import main; main(sys.argv[1:])"
    torchrun = [sys.executable, "-c", script, "--standalone", "--nproc_per_node=2", "-m", "equipoise"]
    process = subprocess.Popen(
        [*torchrun, *ARGUMENTS, "--out", str(folder)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(checkpoint.find(folder / "checkpoints")) >= 2, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=TIMEOUT)
    assert f"everything is saved. Resume with: equipoise resume {folder}" in output
    assert errors.count("saving after this step") == 1
    assert Run(folder).experiment()["devices"] == 2
    assert resumes(folder).reason == "steps"
    assert final_bytes(folder) == final_bytes(whole)


def test_another_number_of_processes_needs_new_random_numbers(whole: Path, tmp_path: Path, call, error_line) -> None:
    (folder := tmp_path / "run").symlink_to(whole)
    with pytest.raises(CheckpointError, match=r"of 2 processes.*would have 1.*--devices 2, or --reseed"):
        list(launch.resume(folder, STEPS + 1, devices=1))
    assert "--reseed" in error_line("resume", folder, "--devices", 1, "--steps", STEPS + 1)


def test_a_run_goes_on_with_another_number_of_processes(whole: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "run"))
    *_, last = launch.resume(folder, STEPS + 4, devices=1, reseed=True)
    assert (last.step, last.images, last.reason) == (STEPS + 4, 8 * (STEPS + 4), "steps")
    assert "devices" not in Run(folder).experiment()
    assert not any(
        name.startswith("rank/") for name in checkpoint.read(checkpoint.find(folder / "checkpoints")[-1]).tensors
    )


def test_a_checkpoint_has_the_random_state_of_each_process(whole: Path) -> None:
    saved = checkpoint.read(checkpoint.find(whole / "checkpoints")[-1])
    assert saved.values["ranks"]["size"] == 2
    assert not torch.equal(saved.tensors["random/moment"], saved.tensors["rank/1/random/moment"])
    assert not torch.equal(saved.tensors["random/torch"], saved.tensors["rank/1/random/torch"])


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        ({"batch_size": 9}, ("batch_size = 9", "2 processes", "8 or 10")),
        ({"batch_size": 1}, ("batch_size = 1", "2 processes", "--batch-size 2")),
        ({"compile": True}, ("compile", "one process", "omit --compile")),
        ({"devices": 0}, ("devices = 0", "at least 1")),
        ({"device": "cuda:1"}, ("device = cuda:1 names one GPU", "2 processes", "--device cuda")),
    ],
)
def test_settings_that_do_not_fit_are_refused(changes: dict[str, object], parts: tuple[str, ...]) -> None:
    with pytest.raises(SettingError) as caught:
        complete(dataclasses.replace(EXPERIMENT, **changes))
    assert all(part in str(caught.value) for part in parts), caught.value


def test_one_device_is_the_default() -> None:
    one = dataclasses.replace(EXPERIMENT, devices=1)
    assert complete(one) == complete(dataclasses.replace(one, devices=None))


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that lets this machine have `gpus` GPUs, or another type of device, and `cores` cores."""

    def pretend(*, gpus: int = 0, cores: int = 2, device: str = "") -> None:
        kind = device or ("cuda" if gpus else "cpu")
        monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
        monkeypatch.setattr(resources, "select_device", lambda name: torch.device(kind if name == "auto" else name))
        monkeypatch.setattr(resources, "available_cores", lambda: cores)

    return pretend


def on(devices: int, device: str = "auto") -> Experiment:
    """Return an experiment that uses so many devices."""
    return dataclasses.replace(EXPERIMENT, devices=devices, device=device)


def test_more_processes_than_devices_are_refused(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(gpus=2)
    resources.check_devices(on(2))
    with pytest.raises(SettingError, match=r"3 processes need 3 GPUs.*has 2.*--devices 2"):
        resources.check_devices(on(3))
    resources.check_devices(on(3, "cpu"))
    for name, value in {"RANK": "4", "WORLD_SIZE": "8", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match=r"4 processes need 4 GPUs.*has 2.*--devices 2"):
        resources.check_devices(on(8))
    machine(gpus=4)
    resources.check_devices(on(8))
    monkeypatch.delenv("LOCAL_RANK")
    with pytest.raises(SettingError, match=r"LOCAL_RANK and LOCAL_WORLD_SIZE are not set; start them with torchrun"):
        resources.check_devices(on(8))
    resources.check_devices(on(8, "cpu"))


def test_many_more_processes_than_cores_are_refused(machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(cores=2)
    resources.check_cores(on(4))
    with pytest.raises(
        SettingError, match=r"devices = 64 would start 64 processes on 2 cores.*use --devices 4 at most"
    ):
        resources.check_cores(on(64))
    machine(cores=64)
    resources.check_cores(on(64))
    machine(cores=2)
    monkeypatch.setenv("RANK", "0")  # torchrun has started them
    resources.check_cores(on(64))


class StartedError(Exception):
    """A process was started."""


def test_too_many_processes_are_refused_before_any_is_started(
    machine, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run is resumed with its number of processes on a machine with fewer cores, too."""

    def start(*place: object) -> None:
        raise StartedError

    machine(cores=2)
    monkeypatch.setattr(rendezvous, "_start", start)
    monkeypatch.setattr(launch, "assemble", lambda *values: pytest.fail("built"))
    with pytest.raises(SettingError, match="devices = 8"):
        list(launch.start(dataclasses.replace(EXPERIMENT, devices=8, evaluate_every=None), tmp_path / "run"))
    with pytest.raises(SettingError, match="devices = 8"):
        list(launch.resume(whole, devices=8, reseed=True))
    monkeypatch.setattr(resources, "FEW_PROCESSES", 1)
    machine(cores=1)
    with pytest.raises(StartedError):
        list(launch.resume(whole))


def test_devices_between_which_processes_cannot_exchange_are_refused(machine) -> None:
    with pytest.raises(SettingError, match=r"device = mps works with one process, not with 2; use --device cpu, or"):
        complete(on(2, "mps"))
    machine(device="mps")
    with pytest.raises(SettingError, match=r"device mps works with one process, not with 2; use --device cpu"):
        resources.check_devices(on(2))


def test_torchrun_and_the_number_of_a_resumed_run_must_agree(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingError, match="devices = 3, but 2 processes were started; omit --devices"):
        next(launch.resume(whole, devices=3))


def test_a_finished_run_gets_no_new_random_numbers(whole: Path, tmp_path: Path) -> None:
    shutil.copytree(whole, tmp_path / "copy")
    with pytest.raises(SettingError, match=r"has finished \d+ steps; give --steps a larger number"):
        list(launch.resume(tmp_path / "copy", devices=1, reseed=True))


def test_torchrun_and_the_setting_must_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(SettingError, match=r"devices = 2, but 3 processes"):
        processes.with_devices(EXPERIMENT)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "29500")
    assert processes.with_devices(dataclasses.replace(EXPERIMENT, devices=None)).devices == 3
    assert not processes.is_follower()


@pytest.mark.parametrize("variables", [{"RANK": "0", "WORLD_SIZE": "1"}, {"RANK": "3"}])
def test_one_process_that_torchrun_started_is_not_two(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    message = r"devices = 2, but 1 process was started; omit --devices, or start without torchrun \(unset RANK\)"
    with pytest.raises(SettingError, match=message):
        processes.with_devices(EXPERIMENT)
    with pytest.raises(SettingError, match=message), rendezvous.connect(2):
        pass
    assert processes.with_devices(dataclasses.replace(EXPERIMENT, devices=None)).devices == 1
    with pytest.raises(CheckpointError, match="of 2 processes, and the run would have 1"):
        list(launch.resume(whole, STEPS + 1))


@pytest.mark.parametrize(
    ("variables", "problem"),
    [
        ({}, "RANK = 0 and WORLD_SIZE = 2 are set, but not MASTER_ADDR and MASTER_PORT; start the"),
        ({"MASTER_ADDR": "127.0.0.1"}, "are set, but not MASTER_PORT; start the"),
        ({"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "http"}, "MASTER_PORT = http must be a number; start the"),
        ({"RANK": "2"}, "RANK = 2 must be a number below WORLD_SIZE = 2; start the"),
    ],
)
def test_an_environment_with_which_processes_cannot_connect_is_refused_in_one_line(
    variables: dict[str, str], problem: str, monkeypatch: pytest.MonkeyPatch, error_line, tmp_path: Path
) -> None:
    for name, value in {"RANK": "0", "WORLD_SIZE": "2", **variables}.items():
        monkeypatch.setenv(name, value)
    assert f"{problem} processes with torchrun, or unset RANK" in error_line(*ARGUMENTS, "--out", tmp_path / "run")


def test_an_address_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The port of another program."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        places = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": server.getsockname()[1]}
        for name, value in places.items():
            monkeypatch.setenv(name, str(value))
        with (
            pytest.raises(RunError, match=r"process 0 of 2 cannot reach the others through 127\.0\.0\.1:\d+ \(.*check"),
            rendezvous.connect(2),
        ):
            pass


class FakeWorld(World):
    """Two processes, of which the other one sends given texts."""

    texts: Iterator[str]

    def gather_texts(self, text: str) -> list[str]:
        return [text, next(self.texts)]


@pytest.fixture
def fake_world() -> Callable[..., World]:
    def make(*texts: str) -> World:
        world = FakeWorld(0, 2)
        FakeWorld.texts = iter(texts)
        return world

    return make


def test_processes_with_other_versions_or_data_are_refused(fake_world: Callable[..., World]) -> None:
    with pytest.raises(SettingError, match=r"process 1 of 2 has other versions.*torch 2.7 instead of 2.6"):
        together.check_equal(fake_world('{"torch": "2.7"}'), "versions", '{"torch": "2.6"}')
    with pytest.raises(SettingError, match=r"process 1 of 2 has other data than process 0; give all machines"):
        together.check_equal(fake_world("b"), "data", "a")
    together.check_equal(fake_world("a"), "data", "a")


def test_an_error_in_one_process_is_raised_in_all(fake_world: Callable[..., World]) -> None:
    with (
        pytest.raises(SettingError, match="process 1 of 2: the folder is empty"),
        together.agreement(fake_world("the folder is empty")),
    ):
        pass
    with pytest.raises(SettingError, match="no such knob"), together.agreement(fake_world("")):
        raise SettingError("no such knob")
    with pytest.raises(LostProcessError), together.agreement(fake_world("")):
        raise LostProcessError("another process of this run has ended")
