"""The tabs of the explorer and the fields of their forms, as JSON values, for what a model has. Imports torch.

A field has a name (key of the request), a text, help, its value without a change (`neutral`), and a kind: range,
select, check, text, number or names (of samples).
"""

from collections.abc import Sequence

from equipoise.inference.generator import Generator

MAX_CLASS_NAMES = 1000
COMPONENTS = 8

Json = dict[str, object]


def tabs_of(generator: Generator) -> dict[str, Json]:
    """Return the tabs of a model by their name: title, fields, a note, and what their requests have besides them."""
    model, spec = generator.model, generator.spec
    fit = _select("fit", "If its size differs", ("native", "resize", "crop", "pad", "stretch"), "", "as in training")
    if model.source is not None:
        back = [_check("back", "From the target domain back to the source")] if model.reverse is not None else []
        return {"translate": _tab("Translate", [fit, *back])}
    has_styles, is_image = model.styles is not None, spec.is_image
    tabs = {} if spec.vocabulary is not None else {"plane": _tab("Plane", [])}
    tabs["grid"] = _tab("Samples", _grid_fields(generator))
    tabs["interpolate"] = _tab("Interpolate", _strip_fields(), "Several names give several rows.")
    tabs |= {"directions": _directions()} if has_styles else {}
    tabs["marks"] = _marked_direction(has_styles=has_styles)
    tabs |= {"mix": _mix(generator.count_layers())} if has_styles and is_image and generator.count_layers() > 1 else {}
    tabs["arithmetic"] = _arithmetic()
    if has_styles and is_image and spec.shape[0] in (1, 3):
        fit = {
            **_field("fit", "If its size differs", "select", "crop", ""),
            "options": _pairs("crop", "pad", "stretch"),
        }
        note = "Finds the styles whose sample resembles your picture most, and puts them on the shelf."
        tabs["project"] = _tab("Find a picture", [fit], note)
    return tabs


def sampling_fields(generator: Generator) -> list[Json]:
    """Return the fields of how samples are drawn that act in the model; neutral: as it was trained."""
    layers = generator.count_layers() if generator.model.styles is not None else 1
    fields = [
        _range(
            "psi", "psi", (-1, 2, 0.05), 1, "Nearer to 0: more typical, less varied. 1 changes nothing, -1 mirrors."
        ),
        _range("cutoff", "Layers that psi acts on", (1, layers, 1), layers, "The first ones."),
        _range("truncation", "Truncation", (0.1, 4, 0.1), 4, "Lower: more typical, less varied. 4: as trained."),
        _select("noise", "Noise", ("fixed", "none"), "Fine detail. fixed: the same in all samples; none: smooth."),
        _range("steps", "Steps of the sampler", (0, 100, 1), 0, "More: finer, and slower. 0: as trained."),
        _range("guidance", "Guidance", (0, 8, 0.1), 1, "Higher: closer to the class or prompt. 1 changes nothing."),
        _select("sampler", "Sampler", ("heun", "dpm_2m", "ddim", "ancestral"), "How the noise is removed."),
    ]
    return [*_class_field(generator), *(field for field in fields if field["name"] in generator.model.samplings)]


def _class_field(generator: Generator) -> list[Json]:
    names, count = generator.spec.class_names, min(generator.model.num_classes, MAX_CLASS_NAMES)
    if not count:
        return []
    classes = [(str(index), names[index] if index < len(names) else str(index)) for index in range(count)]
    return [{**_field("label", "Class", "select", "", ""), "options": [("", "each in turn"), *classes]}]


def _grid_fields(generator: Generator) -> list[Json]:
    counts = {**_field("count", "Samples", "select", "36", ""), "options": _pairs("16", "36", "64", "144")}
    captions = generator.model.captions
    prompt = (
        [] if captions is None else [_field("prompt", "What the samples show", "text", "", "In words of captions.")]
    )
    return [*prompt, _field("seed", "Seed", "number", 0, ""), counts]


def _strip_fields() -> list[Json]:
    length = _range("length", "Pictures in a row", (2, 24, 1), 9, "")
    return [_names("start", "From", "0/0"), _names("end", "To", "1/0"), length]


def _directions() -> Json:
    numbers = range(1, COMPONENTS + 1)
    amounts = [_range(f"amount{number}", f"Component {number}", (-4, 4, 0.1), 0, "") for number in numbers]
    note = "Principal components of the styles. While all are 0: an overview of them."
    return _tab("Directions", [_names("start", "Start from", "0/0", "Empty: the middle."), *amounts], note)


def _marked_direction(*, has_styles: bool) -> Json:
    start = _names("start", "Start from", "0/0" if has_styles else "", "Empty: the middle.")
    sides = [
        _names("plus", "Towards", "", "Empty: the samples marked as good."),
        _names("minus", "Away from", "", "Empty: those marked as flaw."),
    ]
    amount = _range("amount1", "Amount", (-4, 4, 0.1), 0, "0: an overview.")
    tab = _tab("Directions by marks", [start, *sides, amount], "From samples that you marked as flaws to good ones.")
    return tab | {"fixed": {"kind": "directions", "source": "labels"}}


def _mix(layers: int) -> Json:
    return _tab(
        "Mix styles",
        [
            _names("rows", "Rows give these layers", "0/0, 0/1, 0/2"),
            _names("columns", "Columns give all others", "1/0, 1/1, 1/2, 1/3"),
            _range("first", "First layer", (0, layers - 1, 1), 0, ""),
            _range("last", "Last layer", (0, layers - 1, 1), (layers - 1) // 2, ""),
        ],
        "First layers: shape and pose. Last layers: colour and texture.",
    )


def _arithmetic() -> Json:
    fields = [
        _names("plus", "Mean of", "0/0"),
        _names("minus", "minus the mean of", "0/1"),
        _names("more", "plus the mean of", "0/2"),
        _check("neighbours", "Its neighbours, too"),
    ]
    return _tab("Arithmetic", fields, "Three samples a group give steadier results than one.")


def _tab(title: str, fields: Sequence[Json], note: str = "") -> Json:
    return {"title": title, "fields": list(fields), "note": note, "fixed": {}}


def _field(name: str, text: str, kind: str, neutral: float | str | bool, explanation: str) -> Json:
    return {"name": name, "text": text, "kind": kind, "neutral": neutral, "help": explanation}


def _names(name: str, text: str, neutral: str, explanation: str = "") -> Json:
    return _field(name, text, "names", neutral, explanation)


def _check(name: str, text: str) -> Json:
    return _field(name, text, "check", neutral=False, explanation="")


def _range(name: str, text: str, limits: tuple[float, float, float], neutral: float, explanation: str) -> Json:
    low, high, step = limits
    return {**_field(name, text, "range", neutral, explanation), "low": low, "high": high, "step": step}


def _select(name: str, text: str, options: Sequence[str], explanation: str, first: str = "as trained") -> Json:
    return {**_field(name, text, "select", "", explanation), "options": [("", first), *_pairs(*options)]}


def _pairs(*texts: str) -> list[tuple[str, str]]:
    return [(text, text) for text in texts]
