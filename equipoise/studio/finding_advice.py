"""Advice about a finding that changes by hand precede: first how to undo them, and nothing that goes further."""

import re
from collections.abc import Collection, Mapping, Sequence

from equipoise.report.formatting import one_line
from equipoise.runs.log_lines import TurnRow

UP, DOWN, UNCLEAR = (
    ("increase", "raise", "turn on"),
    ("reduce", "halve", "lower"),
    ("multiply", "set", "use", "replace"),
)
VERB = re.compile(rf"\b({'|'.join(UP + DOWN + UNCLEAR)})\b")
COMMA_OUTSIDE_PARENTHESES = re.compile(r", (?![^(]*\))")


def turned_by(turns: Sequence[TurnRow]) -> Mapping[str, float]:
    """Return by how much each knob was changed; above 0: upwards."""
    return {turn.knob: turn.after - turn.before for turn in turns}


def advise_after_changes(advice: str, turns: Sequence[TurnRow], held: Collection[str], *, is_running: bool) -> str:
    """Return advice about a finding; if changes by hand precede it, to undo them first.

    `advice`: that of the symptom. `turns`: changes by hand before the finding. `held`: knobs that a person holds now.
    The part of the advice that would change one of these knobs further in the same direction is left out.
    """
    if not turns:
        return advice
    rest = "; ".join(filter(None, (_agreeing_part(clause, turned_by(turns)) for clause in advice.split("; "))))
    lead = _undo(list(dict.fromkeys(one_line(turn.knob) for turn in turns)), held, is_running)
    return f"{lead}; if the finding comes back: {rest}" if rest else lead


def _undo(knobs: Sequence[str], held: Collection[str], is_running: bool) -> str:
    still_held = [knob for knob in knobs if knob in held]
    if is_running and still_held:
        return f"first release {' and '.join(still_held)}"
    if is_running:
        verb = "is" if len(knobs) == 1 else "are"
        return f"{' and '.join(knobs)} {verb} released again: first wait until the finding is over"
    return f"first continue without {'this change' if len(knobs) == 1 else 'these changes'} by hand, or repeat the run"


def _agreeing_part(clause: str, turned: Mapping[str, float]) -> str:
    """Return the beginning of a clause, up to what goes further in the direction of a change by hand."""
    parts, kept = COMMA_OUTSIDE_PARENTHESES.split(clause), ""
    for part in parts:
        before = f"{kept}, " if kept else ""
        if any(_goes_further(before, part, knob, change) for knob, change in turned.items()):
            return "" if kept.startswith("if ") else kept
        kept = before + part
    return kept


def _goes_further(before: str, part: str, knob: str, change: float) -> bool:
    """Return whether a part of advice names a knob, unless it clearly says to change it in the other direction."""
    name = rf"\b{re.escape(knob)}\b" + ("|learning rates" if knob.startswith("lr_") else "")
    for mention in re.finditer(name, part):
        verbs = VERB.findall(before + part[: mention.start()])
        if not verbs or verbs[-1] not in (DOWN if change > 0 else UP):
            return True
    return False
