"""Taking part in a run of several processes, as one of those after rank 0: without output."""

from functools import partial

from equipoise.cli import unexpected
from equipoise.cli.output import INTERRUPTED, USAGE_ERROR, print_error
from equipoise.cli.signals import interruptible
from equipoise.errors import EquipoiseError, LostProcessError


def join_run(command: str) -> int:
    """Take part in the run that rank 0 sends; return an exit code. Its errors are printed by rank 0.

    The error that rank 0 is gone is printed here, once. `command`: train or resume.
    """
    try:
        from equipoise.experiment import launch

        with interruptible(is_quiet=True) as request:
            launch.join(request, ready=request.defer, describe=partial(describe, command=command))
    except LostProcessError as error:
        return print_error(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def describe(error: Exception, command: str) -> tuple[str, int]:
    """Return the message and the exit code of a command for an error, as the command line has them."""
    return (str(error), USAGE_ERROR) if isinstance(error, EquipoiseError) else unexpected.describe(error, command)
