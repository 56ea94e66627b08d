"""Entry point of the command line. `equipoise --help` does not import torch or other slow packages."""

import functools
import importlib
import inspect
import os
import pkgutil
import sys
from collections.abc import Callable
from typing import Protocol, cast

from equipoise.cli import arguments, commands
from equipoise.cli.output import INTERRUPTED, USAGE_ERROR
from equipoise.errors import EquipoiseError, nearest

OUT_OF_MEMORY = ("out of memory", "allocate memory", "Storage size calculation overflowed", "Overflow when unpacking")
"""Parts of torch's messages if memory is exhausted or a size exceeds any memory."""
LESS_MEMORY = {
    "train": "use a smaller --batch-size or a smaller model (--option width=…)",
    "resume": "close other programs, or train again with a smaller --batch-size or model",
    "evaluate": "use a smaller --count",
    "sample": "use a smaller --count",
}
"""How to reduce the memory that a command needs, by command."""


class Command(Protocol):
    """Interface of a module in cli/commands."""

    ORDER: int
    add_arguments: Callable[[arguments.Parser], None]
    run: Callable[..., int]


def main() -> None:
    """Run the command line and exit with 0, 2 (user error), 3 (unhealthy run) or 130 (interrupted)."""
    sys.path.append(os.getcwd())  # for the user's own modules, as `python -m equipoise` has it
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """Run one command and return its exit code. Errors that the user can correct are printed as one line to stderr."""
    try:
        code = _run_command(words)
        sys.stdout.flush()  # within the try: a reader that has closed the pipe is not an error
        return code
    except EquipoiseError as error:
        return _print_error(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nequipoise: stopped", file=sys.stderr)
        return INTERRUPTED
    except (MemoryError, RuntimeError, TypeError) as error:
        if not isinstance(error, MemoryError) and not any(message in str(error) for message in OUT_OF_MEMORY):
            raise
        return _print_error(f"not enough memory; {LESS_MEMORY.get(words[0], 'close other programs')}")
    except OSError as error:
        return _print_error(f"{error.filename or 'the system'}: {error.strerror or error}")


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
    return arguments.make_parser(command, summary(command), command_modules()[command].add_arguments)


def summary(command: str) -> str:
    """Return the first line of a command's docstring."""
    return (inspect.getdoc(command_modules()[command]) or "").partition("\n")[0]


def _run_command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else USAGE_ERROR
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("equipoise"))
        return 0
    command = words[0]
    if command not in command_modules():
        suggestion = nearest(command, command_modules())
        raise arguments.UsageError(f"unknown command '{command}'{suggestion}")
    return command_modules()[command].run(arguments.parse(parser(command), words[1:]))


def _print_error(message: str) -> int:
    print(f"equipoise: {' '.join(message.splitlines())}", file=sys.stderr)  # user input may contain line breaks
    return USAGE_ERROR


def _overview() -> str:
    width = max(map(len, command_modules()))
    rows = "\n".join(f"  {name:{width}}  {summary(name)}" for name in command_modules())
    return (
        "equipoise: train adversarial networks and keep them balanced\n\n"
        f"usage: equipoise COMMAND …\n\n{rows}\n\n"
        "Start with: equipoise train digits        Help on a command: equipoise COMMAND --help"
    )
