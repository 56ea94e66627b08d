"""Entry point of the command line. `equipoise --help` does not import torch or other slow packages."""

import functools
import importlib
import inspect
import itertools
import os
import pkgutil
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, cast

from equipoise.cli import arguments, commands, signals, unexpected
from equipoise.cli.output import INTERRUPTED, USAGE_ERROR, discard_output, prepare_streams, print_error
from equipoise.errors import EquipoiseError, FailedProcessError, RunError, nearest

HELP_FLAGS = ("-h", "--help")


class Command(Protocol):
    """Interface of a module in cli/commands.

    `EXAMPLES`: commands shown at the end of its help. `JSON_KEYS`: key of the JSON result -> what it is.
    """

    ORDER: int
    EXAMPLES: Sequence[str]
    JSON_KEYS: Mapping[str, str]
    add_arguments: Callable[[arguments.Parser], None]
    run: Callable[..., int]


def main() -> None:
    """Run the command line and exit with 0, 1 (defect), 2 (user error), 3 (unhealthy run) or 130 (interrupted)."""
    prepare_streams()
    signals.prepare()
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Run one command and return its exit code. Errors that the user can correct are printed as one line to stderr."""
    as_json = "--json" in words or "--format=json" in words or ("--format", "json") in itertools.pairwise(words)
    try:
        code = _run_safely(words, as_json)
        sys.stdout.flush()  # within the try: a reader that has closed the pipe is not an error
        return code
    except BrokenPipeError:
        discard_output()
        return 0


def _run_safely(words: list[str], as_json: bool) -> int:
    """Run one command; print every error in one line."""
    try:
        return _run_command(words)
    except FailedProcessError as error:
        return print_error(str(error), error.exit_code, as_json=as_json)
    except EquipoiseError as error:
        return print_error(str(error), as_json=as_json)
    except BrokenPipeError:
        raise
    except KeyboardInterrupt:
        from equipoise.experiment.processes import is_follower

        return INTERRUPTED if is_follower() else print_error("stopped", INTERRUPTED, as_json=as_json)
    except Exception as error:
        message, code = unexpected.describe(error, words[0])
        return print_error(message, code, as_json=as_json)


@functools.cache
def command_modules() -> dict[str, Command]:
    """Return the modules of all commands by command name, in the order of the overview."""
    names = [info.name for info in pkgutil.iter_modules(commands.__path__) if not info.name.startswith("_")]
    modules = {
        name.rstrip("_").replace("_", "-"): cast(Command, importlib.import_module(f"{commands.__name__}.{name}"))
        for name in names
    }
    return dict(sorted(modules.items(), key=lambda item: item[1].ORDER))


def parser(command: str) -> arguments.Parser:
    """Create the parser of a command."""
    module = _module(command)
    return arguments.make_parser(command, summary(command), module.add_arguments, module.EXAMPLES)


def summary(command: str) -> str:
    """Return the first line of a command's docstring."""
    return (inspect.getdoc(command_modules()[command]) or "").partition("\n")[0]


def _run_command(words: list[str]) -> int:
    if not words or words[0] in HELP_FLAGS or (words[0] == "help" and not words[1:]):
        print(_overview())
        return 0 if words else USAGE_ERROR
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("equipoise"))
        return 0
    if words[0] == "help":
        parser(words[1]).print_help()
        return 0
    module = _module(words[0])
    if not any(flag in words for flag in HELP_FLAGS):
        _add_current_folder()
    return module.run(arguments.parse(parser(words[0]), words[1:]))


def _module(command: str) -> Command:
    """Return the module of a command. Raises UsageError for an unknown command."""
    if command not in command_modules():
        raise arguments.UsageError(f"unknown command '{command}'{nearest(command, command_modules())}")
    return command_modules()[command]


def _add_current_folder() -> None:
    """Let the user's own modules in the current folder be imported, as `python -m equipoise` does."""
    try:
        folder = os.getcwd()
    except OSError as error:
        raise RunError("the current folder no longer exists; change to another folder, then try again") from error
    if folder not in sys.path:
        sys.path.append(folder)


def _overview() -> str:
    width = max(map(len, command_modules()))
    rows = "\n".join(f"  {name:{width}}  {summary(name)}" for name in command_modules())
    return (
        "equipoise: train adversarial networks and keep them balanced\n\n"
        f"usage: equipoise COMMAND …\n\n{rows}\n\n"
        "Start with: equipoise train digits        Help on a command: equipoise help COMMAND\n"
        "Version: equipoise --version              Models, data, controllers, metrics: equipoise list"
    )
