"""Say what there is: GANs, data, controllers, metrics."""

import argparse

from equipoise.arguments import Parser, json_flag
from equipoise.commands._answer import answer
from equipoise.errors import UnknownNameError


def fill(made: Parser) -> None:
    """The arguments of `list`."""
    made.add_argument("kind", nargs="?", metavar="gans|data|controllers|metrics", help="left out: all of them")
    json_flag(made)


def act(asked: argparse.Namespace) -> int:
    """What there is to choose from."""
    from equipoise import catalog

    kinds: dict[str, catalog.Kind] = {"gans": "zoo", "data": "data", "controllers": "controllers", "metrics": "metrics"}
    if asked.kind is not None and asked.kind not in kinds:
        raise UnknownNameError("list", asked.kind, kinds)
    found = {
        word: {
            name: {"summary": catalog.summary(kind, name), "presets": sorted(catalog.presets(kind, name))}
            for name in catalog.names(kind)
        }
        for word, kind in kinds.items()
        if asked.kind in (None, word)
    }
    lines = []
    for word, plugs in found.items():
        lines.append(f"{word}:")
        for name, about in plugs.items():
            lines.append(f"  {name:14} {about['summary']}")
            lines.extend(f"  {'':14}   {name}:{preset}" for preset in about["presets"])
    answer(asked.json, found, "\n".join(lines))
    return 0
