"""Say what there is: GANs, data, controllers, metrics."""

import argparse

from equipoise.cli.arguments import Parser, json_flag
from equipoise.cli.commands._answer import answer
from equipoise.errors import UnknownNameError


def add_arguments(made: Parser) -> None:
    """The arguments of `list`."""
    made.add_argument("kind", nargs="?", metavar="gans|data|controllers|metrics", help="left out: all of them")
    json_flag(made)


def run(args: argparse.Namespace) -> int:
    """What there is to choose from."""
    from equipoise.core import catalog

    kinds: dict[str, catalog.Kind] = {
        "models": "models",
        "data": "data",
        "controllers": "controllers",
        "metrics": "metrics",
    }
    if args.kind is not None and args.kind not in kinds:
        raise UnknownNameError("list", args.kind, kinds)
    result = {
        word: {
            name: {"summary": catalog.summary(kind, name), "presets": sorted(catalog.presets(kind, name))}
            for name in catalog.names(kind)
        }
        for word, kind in kinds.items()
        if args.kind in (None, word)
    }
    lines = []
    for word, plugs in result.items():
        lines.append(f"{word}:")
        for name, about in plugs.items():
            lines.append(f"  {name:14} {about['summary']}")
            lines.extend(f"  {'':14}   {name}:{preset}" for preset in about["presets"])
    answer(args.json, result, "\n".join(lines))
    return 0
