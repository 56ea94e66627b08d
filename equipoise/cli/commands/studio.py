"""Open a local page in the browser to watch, steer, explore and compare runs."""

import argparse
import sys
from pathlib import Path

from equipoise.cli.arguments import Parser
from equipoise.core.printing import printable
from equipoise.errors import MissingPackageError, RunError

ORDER = 135
DEFAULT = "runs"
EXAMPLES = (
    "equipoise studio",
    "equipoise studio experiments --port 9000 --no-browser",
)
JSON_KEYS: dict[str, str] = {}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `studio`."""
    parser.add_argument(
        "folder", nargs="?", metavar="DIR", help="folder with run folders, or one of them; default: runs"
    )
    parser.add_argument(
        "--port", type=_port, default=8765, help="port of the page, 0 for any that is free; default: 8765"
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen at; default: 127.0.0.1, this computer only"
    )
    parser.add_argument(
        "--token", help="secret in the address of the page, at least 16 characters; default: a new one at each start"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the address, but do not open the browser")
    parser.add_argument(
        "--trust-code",
        action="store_true",
        help="let the page import the modules and files that runs in DIR name, which runs their code",
    )


def run(args: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C."""
    folder = Path(DEFAULT if args.folder is None else args.folder)
    if args.folder is None and not folder.exists():  # before the first run
        folder.mkdir()
    if not folder.is_dir():
        problem = f"{folder} is a file" if folder.is_file() else f"there is no folder {folder}"
        raise RunError(f"{problem}; give a folder of runs, such as: equipoise studio runs")
    try:
        from equipoise.studio.guard import is_loopback
        from equipoise.studio.server import ServerOptions, open_browser, serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        raise MissingPackageError("the studio needs an extra: pip install 'equipoise[studio]'") from error

    def started(address: str) -> None:
        if not is_loopback(args.host):
            warning = "anyone who knows the address below can start and stop programs here; it is not encrypted"
            print(f"warning: {warning}", file=sys.stderr)
        print(f"studio of {printable(str(folder))}: {address}", flush=True)
        print("stop it with Ctrl-C; runs continue without it", flush=True)
        if not args.no_browser:
            open_browser(address)

    serve(ServerOptions(folder, args.host, args.port, args.token, args.trust_code), started)
    return 0


def _port(text: str) -> int:
    """Parse a port. Raises ArgumentTypeError for anything but a whole number from 0 to 65535."""
    if not text.isascii() or not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"'{text}' is not a port; give a whole number from 0 to 65535, such as 8765")
    return int(text)
