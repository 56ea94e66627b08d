"""Print the JSON schema of experiment files."""

import argparse
import json

from equipoise.cli.arguments import Parser

ORDER = 150
EXAMPLES = ("equipoise schema > experiment.schema.json",)
JSON_KEYS: dict[str, str] = {}


def add_arguments(parser: Parser) -> None:
    """Add the arguments of `schema`: none."""


def run(args: argparse.Namespace) -> int:
    """Print the schema of experiment files, for an editor: equipoise schema > experiment.schema.json."""
    from equipoise.experiment.schema import experiment_schema

    print(json.dumps(experiment_schema(), indent=1, ensure_ascii=False))
    return 0
