"""Printing of results to standard output, and the exit codes of all commands."""

import json

USAGE_ERROR, UNHEALTHY, INTERRUPTED = 2, 3, 130
"""Exit codes. 2: an error that the user can correct. 3: a run ended unhealthy, or a run of a comparison failed. 130:
interrupted by the user. 0 means success."""


def print_result(as_json: bool, result: object, text: str) -> None:
    """Print `text`, or `result` as one line of JSON."""
    print(json.dumps(result) if as_json else text)
