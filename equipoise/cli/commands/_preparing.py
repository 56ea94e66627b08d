"""Making data ready before a run: a bar while it takes long, and what the user should know of the data."""

from equipoise.experiment.settings import Experiment, preparations


def get_ready(experiment: Experiment, *, quiet: bool) -> None:
    """Prepare the data of an experiment, if there is anything to prepare."""
    from equipoise.cli.terminal import show_preparation

    show_preparation(preparations(experiment), quiet=quiet)
