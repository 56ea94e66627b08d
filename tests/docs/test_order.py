"""A page whose examples need a run from an earlier example says so before the first of them."""

import re
from pathlib import Path

import pytest

from .test_examples import PAGES, Block, code_blocks, page_id

SENTENCE = "The examples on this page build on each other: run them in order."


def runs_made(block: Block) -> set[str]:
    return set(re.findall(r"--out (runs/[\w-]+)", block.text)) | set(re.findall(r"\"(runs/[\w-]+)\"", block.text))


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_order_is_stated(page: Path) -> None:
    made: set[str] = set()
    blocks = code_blocks(page)
    trains_by_default = False
    for index, block in enumerate(blocks):
        used = set(re.findall(r"runs/[\w-]+", block.text))
        needs_earlier = bool(used & made) or (bool(used - runs_made(block)) and trains_by_default)
        has_own = "equipoise train" in block.text or "equipoise.start" in block.text
        if index and needs_earlier and not has_own:
            text = page.read_text()
            before = "\n".join(text.splitlines()[: block.line])
            paragraph = before.split("\n\n")[-2]  # directly after another block, both are one example
            assert SENTENCE in before or " above" in paragraph or paragraph.endswith("```"), f"line {block.line}"
        made |= runs_made(block)
        trains_by_default |= bool(re.search(r"equipoise train (?!.*--out)", block.text))
