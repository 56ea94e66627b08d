"""Taking part in a run of several processes, as one of those after rank 0: without output."""

from equipoise.cli.output import INTERRUPTED, print_error
from equipoise.cli.signals import interruptible
from equipoise.errors import LostProcessError


def join_run() -> int:
    """Take part in the run that rank 0 sends; return an exit code. Its errors are printed by rank 0.

    The error that rank 0 is gone is printed here, once.
    """
    from equipoise.experiment import launch

    try:
        with interruptible(is_quiet=True) as request:
            launch.join(request, ready=request.defer)
    except LostProcessError as error:
        return print_error(str(error))
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0
