"""Changes of knobs by people, in words: for the timeline, for findings that followed them, and for comparisons."""

from equipoise.core.events import MANUAL
from equipoise.report.formatting import format_count, format_number, one_line
from equipoise.runs.log_lines import TurnRow
from equipoise.runs.run_index import LiveRun

MIN_REACH, REACH_SHARE = 200, 0.25
"""How long before a finding a change may be: steps, and the share of the steps up to the finding."""
MAX_CAUSES = 3
MAX_NAMED = 6


def manual_changes(run: LiveRun) -> list[TurnRow]:
    """Return the changes of knobs that a person made, in order of their steps."""
    return [turn for turn in run.log.turns if turn.by == MANUAL]


def describe_change(turn: TurnRow) -> str:
    """Format a change of a knob: "lr_d 0.00117 → 0.006"."""
    return f"{one_line(turn.knob)} {_number(turn.before)} → {_number(turn.after)}"


def describe_manual_changes(turns: list[TurnRow]) -> str:
    """List changes with their steps; "none" without any."""
    texts = [f"{describe_change(turn)} at step {format_count(turn.step)}" for turn in turns[:MAX_NAMED]]
    more = [f"and {len(turns) - MAX_NAMED} more"] if len(turns) > MAX_NAMED else []
    return ", ".join(texts + more) or "none"


def causes_of(turns: list[TurnRow], since: int) -> list[TurnRow]:
    """Return the changes by hand shortly before a finding that began at step `since`: the latest of each knob."""
    reach = max(MIN_REACH, REACH_SHARE * since)
    latest = {turn.knob: turn for turn in turns if 0 <= since - turn.step <= reach}
    return sorted(latest.values())[-MAX_CAUSES:][::-1]


def describe_causes(turns: list[TurnRow], since: int) -> list[str]:
    """Say which changes by hand came shortly before a finding that began at step `since`.

    "lr_d was set by hand from 0.00117 to 0.006 (× 5.1) at step 900, 50 steps before"
    """
    return [_describe_cause(turn, since - turn.step) for turn in causes_of(turns, since)]


def _describe_cause(turn: TurnRow, distance: int) -> str:
    ratio = turn.after / turn.before if turn.before > 0 else 0.0
    factor = f" (× {ratio:.2g})" if 0 < ratio < 1e4 and abs(ratio - 1) > 0.005 else ""
    when = f"{format_count(distance)} {'step' if distance == 1 else 'steps'} before" if distance else "at the same step"
    return (
        f"{one_line(turn.knob)} was set by hand from {_number(turn.before)} to {_number(turn.after)}{factor} "
        f"at step {format_count(turn.step)}, {when}"
    )


def _number(value: float) -> str:
    return format_number(float(f"{value:.3g}"))
