"""Results on standard output, and the exit codes of all commands."""

import json

USAGE_ERROR, UNHEALTHY, INTERRUPTED = 2, 3, 130
"""Exit codes: something that the user must correct; a run that ended unhealthy, or a failed run of a comparison;
interrupted by the user. 0: success."""


def print_result(as_json: bool, result: object, text: str) -> None:
    """Print `text`, or `result` as one line of JSON."""
    print(json.dumps(result) if as_json else text)
