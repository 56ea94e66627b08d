"""How a command answers: for people, or for programs."""

import json
from typing import Any


def answer(as_json: bool, answer: Any, text: str) -> None:
    """Print `text`, or `answer` as one line of JSON."""
    print(json.dumps(answer) if as_json else text)
