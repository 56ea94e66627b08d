"""Memory that runs out during training: one line with a batch size that is likely to fit."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from equipoise.errors import MemoryLimitError
from equipoise.experiment.settings import Experiment, require

ALLOCATION_FAILURES = ("can't allocate memory", "allocate memory", "out of memory")
"""Parts of the messages of torch if an allocation fails: of the CPU, of CUDA's libraries."""
GROUP = 4
"""Halved batches of at least two groups are multiples of this, the usual group of minibatch statistics."""


@contextmanager
def memory_errors(experiment: Experiment) -> Iterator[None]:
    """Turn an allocation that fails in the context into a MemoryLimitError that names a smaller batch size."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError, RuntimeError) as error:
        is_runtime = isinstance(error, RuntimeError) and not isinstance(error, torch.OutOfMemoryError)
        if is_runtime and not any(part in str(error) for part in ALLOCATION_FAILURES):
            raise
        raise MemoryLimitError(describe_exhaustion(experiment)) from error


def describe_exhaustion(experiment: Experiment) -> str:
    """Return what did not fit into memory, and what is likely to.

    A run that passed :func:`~equipoise.experiment.resources.check_memory` exceeds the memory by less than a factor of
    about two, so that half of the batch is likely to fit. Twice as many batches per update make the same updates.
    """
    batch_size, accumulate = require(experiment.batch_size, "batch_size"), experiment.accumulate or 1
    problem = f"batch_size = {batch_size} does not fit into the memory of device {experiment.device or 'auto'}"
    processes = experiment.devices or 1
    if batch_size <= processes:
        return f"{problem}; use a smaller model or image size: --option width=…, --image-size …"
    half = batch_size // 2 // processes
    half = max(1, half - (half % GROUP if half >= 2 * GROUP else 0)) * processes
    return (
        f"{problem}; {half} is likely to: --batch-size {half} --accumulate "
        f"{-(-batch_size * accumulate // half)} makes updates of the same size"
    )
