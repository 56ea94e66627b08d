"""Notes on how a folder of tables was read, for the user."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from equipoise.core.data import Bound
from equipoise.core.printing import agree, format_count, format_names, printable
from equipoise.data._files.cache import CachedFolder
from equipoise.data._windows.plans import WindowPlan
from equipoise.data._windows.selection import type_of
from equipoise.data._windows.streams import constant_windows, share_outside

MAX_VALUES = 1_000_000
"""Number of values from which quantiles are computed."""
MAX_TAIL = 20
"""Range of a column, in ranges of its central 90 %, above which it is reported."""


def describe_windows(
    result: CachedFolder, plan: WindowPlan, types: Sequence[str], untyped: Sequence[str]
) -> Iterator[str]:
    """Yield notes on the decoded windows. `untyped`: files outside of the types."""
    facts = result.facts
    if types:
        counts = Counter(type_of(path, types) for path in result.paths)
        shares = ", ".join(f"{printable(name)} {counts[name]:,}" for name in types)
        yield f"{format_count(len(types), 'type')}: {shares}"
    if untyped:
        verb = agree(len(untyped), "was", "were")
        yield f"{format_count(len(untyped))} outside of the types {verb} skipped: {format_names(untyped)}"
    if plan.labels:
        classes = torch.bincount(result.array[:, 0, -1].long(), minlength=len(plan.labels)).tolist()
        pairs = ", ".join(f"{printable(name)} {count:,}" for name, count in zip(plan.labels, classes, strict=True))
        yield f"{format_count(len(plan.labels), 'label')}: {pairs}"
    if number := facts["header"]:
        yield f"{format_count(number)} with a header, which was removed"
    if number := facts.get("more", 0):
        yield f"{format_count(number, 'further line')} above rows {agree(number, 'was', 'were')} removed, such as units"
    if number := facts["row_names"]:
        yield f"{format_count(number)} with row names, which were removed"
    if number := facts.get("interpolated", 0):
        yield f"{format_count(number, 'missing value')} interpolated (data.missing)"
    if number := facts["constant"]:
        paths = [result.paths[row] for row in constant_windows(result.array)]
        yield f"{format_count(number, 'window')} constant (all numbers equal): {format_names(paths)}"
    if facts["stretched"]:
        rows, columns = result.array.shape[1:]
        yield f"the windows are not square: stretched to {rows} x {columns} (image_size)"
    if number := facts.get("short", 0):
        yield f"{format_count(number)} shorter than a window {agree(number, 'is', 'are')} not used (data.window)"
    if plan.stride is not None and (number := facts.get("unused", 0)):
        yield f"{format_count(number, 'row')} at the end of tables are in no window"


def describe_omitted(left_out: Mapping[str, str]) -> Iterator[str]:
    """Yield a note on the arrays of a file that are not used: name -> reason."""
    if left_out:
        yield f"left out: {format_names([*left_out])} ({next(iter(left_out.values()))})"


def describe_clipping(
    windows: Tensor, rows: Sequence[int], bounds: tuple[Bound, Bound], rows_are: str
) -> Iterator[str]:
    """Yield a note on numbers in `rows` of windows (N, rows, columns) that are outside of bounds, if there are any."""
    low, high = (torch.tensor(bound) for bound in bounds)
    if low.ndim and rows_are != "time":
        low, high = low.unsqueeze(-1), high.unsqueeze(-1)
    if share := share_outside(windows, rows, low, high):
        text = "the range" if low.ndim else f"{low:g} to {high:g}"
        yield f"{share:.2%} of the numbers lie outside {text} and are clipped (low, high)"


def describe_outliers(
    windows: Tensor, rows: Sequence[int], rows_are: str, names: Sequence[str], *, per_column: bool
) -> Iterator[str]:
    """Yield a note on columns whose range is that of a few values, in `rows` of windows (N, rows, columns).

    `per_column`: whether columns have ranges of their own.
    """
    step = max(1, len(rows) * windows[0].numel() // MAX_VALUES)
    values = windows[torch.tensor(rows[::step])].double()
    values = values if rows_are == "time" else values.transpose(1, 2)
    values = values.reshape(-1, values.shape[2] if per_column else 1)
    low, high = torch.quantile(values, torch.tensor([0.05, 0.95], dtype=torch.float64), dim=0)
    span = values.amax(0) - values.amin(0)
    wide: list[int] = ((high > low) & (span > MAX_TAIL * (high - low))).nonzero().flatten().tolist()
    if not wide:
        return
    parts = [f"{names[i] if per_column and i < len(names) else f'column {i + 1}'}: " * per_column for i in wide]
    ranges = [f"{part}{low[i]:g} to {high[i]:g}" for part, i in zip(parts, wide, strict=True)]
    yield (
        f"90 % of the values are within 5 % of the range ({format_names(ranges)}): replace codes of missing values, "
        "such as -9999, by nan; or set data.low and data.high, beyond which values are clipped"
    )


def describe_blocks(split: tuple[Sequence[int], Sequence[int]], paths: Sequence[str]) -> str:
    """Describe a split of windows, which may overlap, of the recordings `paths`, into training and held-out windows."""
    train, held_out = split
    shared = {paths[row] for row in train} & {paths[row] for row in held_out}
    whole = f"all of {format_count(len({paths[row] for row in held_out}))}"
    what = "in blocks of time" if shared else whole
    text = f"{len(held_out):,} of {len(paths):,} windows are held out, {what}"
    unused = len(paths) - len(train) - len(held_out)
    return f"{text}; {unused:,} others that overlap them are not used" if unused else text
