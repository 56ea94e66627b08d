"""List models, data sets, controllers and metrics."""

import argparse
from typing import get_args

from equipoise.cli.arguments import Parser, add_json_flag
from equipoise.cli.output import print_result
from equipoise.errors import UnknownNameError

ORDER = 130


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `list`."""
    parser.add_argument("kind", nargs="?", metavar="models|data|controllers|metrics", help="what to list; default: all")
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Print names, summaries and presets."""
    from equipoise.core import catalog

    kinds: tuple[catalog.PlugKind, ...] = get_args(catalog.PlugKind)
    kinds = tuple(kind for kind in ("models", "data", "controllers", "metrics") if kind in kinds)
    if args.kind is not None and args.kind not in kinds:
        raise UnknownNameError("kind of plug", args.kind, kinds)
    result, lines = {}, []
    for kind in kinds:
        if args.kind not in (None, kind):
            continue
        result[kind] = {
            name: {"summary": catalog.summary(kind, name), "presets": sorted(catalog.presets(kind, name))}
            for name in catalog.names(kind)
        }
        width = max(map(len, catalog.names(kind)))
        lines.append(f"{kind}:")
        for name in catalog.names(kind):
            lines.append(f"  {name:{width}} {catalog.summary(kind, name)}")
            lines.extend(f"  {'':{width}}   {name}:{preset}" for preset in sorted(catalog.presets(kind, name)))
    print_result(args.json, result, "\n".join(lines))
    return 0
