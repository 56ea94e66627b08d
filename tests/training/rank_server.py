"""A process that takes part in tests of several: runs named checks, all processes at once, and prints their results.

    python SCRIPT FOLDER RANK        the folder holds the file through which the processes find each other

Reads a line of words per check, its name first; prints a JSON object, or {"error": …}.
"""

import hashlib
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from datetime import timedelta

import torch
from torch import Tensor, distributed

from equipoise.core.world import World

SIZE = 2
LIMIT = timedelta(seconds=120)


def serve(checks: Mapping[str, Callable[..., dict[str, object]]]) -> None:
    """Run checks, called with the words after their name and the world, until the input ends."""
    folder, rank = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", SIZE)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=SIZE, timeout=LIMIT)
    for line in sys.stdin:
        check, *words = line.split()
        try:
            result = checks[check](*words, World(rank, SIZE))
        except Exception:
            result = {"error": traceback.format_exc()}
        print(json.dumps(result), flush=True)
    distributed.destroy_process_group()


def is_shared(name: str) -> bool:
    """Whether a tensor of a training state is equal in all processes."""
    return not name.startswith(("random/", "memory/pool"))


def digest(tensors: Mapping[str, Tensor]) -> str:
    """Return a digest of names and bytes."""
    result = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        result.update(name.encode() + value.detach().contiguous().numpy().tobytes())
    return result.hexdigest()
