"""The command line: parse, call, print. `equipoise --help` imports neither torch nor anything else that is slow."""

import importlib
import inspect
import os
import sys
from types import ModuleType

from equipoise.cli import arguments
from equipoise.errors import EquipoiseError, nearest

USAGE, INTERRUPTED = 2, 130
MODULES = {"list": "listing", "train-policy": "train_policy"}
"""Commands whose module cannot have their name."""
COMMANDS = (
    "train",
    "resume",
    "evaluate",
    "sample",
    "translate",
    "interpolate",
    "arithmetic",
    "export",
    "diagnose",
    "report",
    "compare",
    "train-policy",
    "list",
    "runs",
)
"""In the order of the overview. What a command takes and does stands in its module in commands/."""
NO_MEMORY = ("out of memory", "allocate memory", "Storage size calculation overflowed", "Overflow when unpacking")
"""What torch says when there is none, or none could be enough."""
LESS_MEMORY = {
    "train": "make --batch-size, or the GAN's width, smaller",
    "resume": "end other programs, or train anew with a smaller --batch-size or GAN",
    "evaluate": "make --count smaller",
    "sample": "make --count smaller",
}
"""What makes a command take less."""


def main() -> None:
    """The entry point: exits with 0, 2 (something to mend), 3 (the run ended unhealthy), or 130 (interrupted)."""
    sys.path.append(os.getcwd())  # where a module of one's own is looked for, as `python -m equipoise` does
    sys.exit(run(sys.argv[1:]))


def run(words: list[str]) -> int:
    """One command, and its exit code: what can be mended is told in one line on standard error."""
    try:
        code = _command(words)
        sys.stdout.flush()  # here, where a reader that has gone away is no error
        return code
    except EquipoiseError as error:
        return _complain(str(error))
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print("\nequipoise: stopped", file=sys.stderr)
        return INTERRUPTED
    except (MemoryError, RuntimeError, TypeError) as error:
        if not isinstance(error, MemoryError) and not any(told in str(error) for told in NO_MEMORY):
            raise
        return _complain(f"there is not enough memory; {LESS_MEMORY.get(words[0], 'end other programs')}")
    except OSError as error:
        return _complain(f"{error.filename or 'the system'}: {error.strerror or error}")


def module(command: str) -> ModuleType:
    """What a command is made of: `fill` its parser, `act` on what was asked; the docstring's first line sums it up."""
    return importlib.import_module(f"equipoise.cli.commands.{MODULES.get(command, command)}")


def parser(command: str) -> arguments.Parser:
    """The parser of one command."""
    return arguments.parser(command, summary(command), module(command).add_arguments)


def summary(command: str) -> str:
    """What a command does, in a line."""
    return (inspect.getdoc(module(command)) or "").partition("\n")[0]


def _command(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview())
        return 0 if words else USAGE
    if words[0] == "--version":
        from importlib.metadata import version

        print(version("equipoise"))
        return 0
    command = words[0]
    if command not in COMMANDS:
        raise arguments.UsageError(f"there is no command '{command}'{nearest(command, COMMANDS)}")
    code: int = module(command).run(arguments.parse(parser(command), words[1:]))
    return code


def _complain(line: str) -> int:
    print(f"equipoise: {' '.join(line.splitlines())}", file=sys.stderr)  # what was typed may hold breaks
    return USAGE


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:{width}}  {summary(name)}" for name in COMMANDS)
    return (
        "equipoise: adversarial networks that keep their balance\n\n"
        f"usage: equipoise COMMAND …\n\n{rows}\n\n"
        "Start with: equipoise train digits        More: equipoise COMMAND --help"
    )
