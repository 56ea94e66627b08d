"""The symptoms: one `Symptom` record each, in one file per family.

To add a symptom, add a record to one of these files or to a new file: records at module level are found automatically.
"""

import importlib
import pkgutil
from collections.abc import Iterator, Mapping

from equipoise.diagnosis.symptom import Repair, Symptom


def _records() -> Iterator[Symptom]:
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        yield from (value for value in vars(module).values() if isinstance(value, Symptom))


SYMPTOMS: Mapping[str, Symptom] = {record.id: record for record in sorted(_records(), key=lambda record: record.order)}
"""All symptoms by id, in the order in which they are detected and reported."""


def repair_of(symptom: str) -> Repair | None:
    """Return the repair of a symptom; None if it has none, or if the symptom does not exist."""
    record = SYMPTOMS.get(symptom)
    return record.repair if record else None
