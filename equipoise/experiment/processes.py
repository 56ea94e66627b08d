"""How many processes a run has, and what they require of its settings and of the environment.

`torchrun` starts them and describes them in the environment: RANK, WORLD_SIZE, LOCAL_RANK. `--devices N` starts N - 1
in the same way, and this process is rank 0; :mod:`equipoise.experiment.rendezvous` connects them.
"""

import dataclasses
import os

from equipoise.errors import SettingError
from equipoise.experiment.settings import Experiment, require

RENDEZVOUS = "EQUIPOISE_RENDEZVOUS"
"""Environment variable: the file through which the processes of `--devices` find each other."""
ADDRESS = ("MASTER_ADDR", "MASTER_PORT")
"""Environment variables: where the processes that torchrun started find each other."""
PLACE = ("LOCAL_RANK", "LOCAL_WORLD_SIZE")
"""Environment variables: the number of a process on its machine, and how many processes of the run that machine has."""
DEVICE_TYPES = ("auto", "cpu", "cuda")
"""Types of devices between which processes can exchange gradients."""


def environment_size() -> int:
    """Return the number of processes that were started together, as torchrun does; 1 otherwise."""
    size = os.environ.get("WORLD_SIZE", "1")
    return int(size) if "RANK" in os.environ and size.isdecimal() else 1


def is_follower() -> bool:
    """Whether this process takes part in a run that another process leads."""
    return environment_size() > 1 and os.environ["RANK"] != "0"


def with_devices(experiment: Experiment) -> Experiment:
    """Return the experiment with the number of processes that torchrun started.

    Raises SettingError as :func:`started_processes` does.
    """
    devices = started_processes(experiment.devices)
    return experiment if devices == experiment.devices else dataclasses.replace(experiment, devices=devices)


def started_processes(devices: int | None) -> int | None:
    """Return the number of processes that torchrun started; `devices`, which the user named, without torchrun.

    Raises SettingError if both differ, or if the environment does not describe processes that can connect.
    """
    if "RANK" not in os.environ:
        return devices
    size = environment_size()
    if devices not in (None, size):
        processes = "1 process was" if size == 1 else f"{size} processes were"
        raise SettingError(
            f"devices = {devices}, but {processes} started; omit --devices, or start without torchrun (unset RANK)"
        )
    check_environment()
    return size


def check_environment() -> None:
    """Raise SettingError if this process is one of several, and the environment does not say how they connect."""
    size = environment_size()
    if size == 1 or RENDEZVOUS in os.environ:
        return
    rank, remedy = os.environ["RANK"], "start the processes with torchrun, or unset RANK to train with one"
    if not rank.isdecimal() or int(rank) >= size:
        raise SettingError(f"RANK = {rank} must be a number below WORLD_SIZE = {size}; {remedy}")
    if missing := [name for name in ADDRESS if not os.environ.get(name)]:
        names = " and ".join(missing)
        raise SettingError(f"RANK = {rank} and WORLD_SIZE = {size} are set, but not {names}; {remedy}")
    if not (port := os.environ[ADDRESS[1]]).isdecimal():
        raise SettingError(f"MASTER_PORT = {port} must be a number; {remedy}")


def local_processes(size: int) -> int:
    """Return how many of the `size` processes of a run use the GPUs of this machine.

    Raises SettingError if they were started by a program that does not say so.
    """
    if "RANK" not in os.environ:
        return size
    if not all(os.environ.get(name, "").isdecimal() for name in PLACE):
        raise SettingError(
            f"{size} processes use one GPU each, but {' and '.join(PLACE)} are not set; start them with torchrun, or "
            "set both: the number of a process on its machine, and how many that machine has"
        )
    return int(os.environ[PLACE[1]])


def check_shares(experiment: Experiment) -> None:
    """Raise SettingError if the processes of a completed experiment cannot share a batch, or cannot be used."""
    size, batch_size = experiment.devices or 1, require(experiment.batch_size, "batch_size")
    if batch_size % size:
        below, above = batch_size // size * size, -(-batch_size // size) * size
        choice = f"{below} or {above}" if below else f"{above}"
        raise SettingError(
            f"batch_size = {batch_size} cannot be divided among {size} processes; use --batch-size {choice}"
        )
    device, _, number = (experiment.device or "auto").partition(":")
    if size > 1 and device not in DEVICE_TYPES:
        raise SettingError(
            f"device = {experiment.device} works with one process, not with {size}; use --device cpu, or omit --devices"
        )
    if size > 1 and number:
        raise SettingError(
            f"device = {experiment.device} names one GPU, and {size} processes use one each; use --device {device}"
        )
    if size > 1 and experiment.compile:
        raise SettingError(f"compile = true works with one process, not with {size}; omit --compile")


def one_share(experiment: Experiment) -> Experiment:
    """Return what one of the processes of an experiment does, as an experiment of its own, to be measured."""
    size = experiment.devices or 1
    if size == 1:
        return experiment
    return dataclasses.replace(
        experiment, devices=None, batch_size=require(experiment.batch_size, "batch_size") // size
    )
