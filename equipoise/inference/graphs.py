"""Graphs of networks for other programs: traced, encoded as ONNX, and run by ONNX Runtime."""

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from equipoise.errors import EquipoiseError

if TYPE_CHECKING:
    from onnx import ModelProto

TRACE_BATCH = 2
"""Batch size for tracing a graph: torch treats a batch of 1 as a constant."""
CHECK_BATCH = 16
"""Number of latents for which an exported network is compared with that of the run."""
TOLERANCE = 1e-4
"""Largest allowed difference between samples of an ONNX graph and of the generator, on a range of 2: a fiftieth of one
of 256 grey levels."""
PACKAGES_MISSING = (
    "--format onnx needs packages that are not installed; install them with: pip install 'equipoise[export]'"
)

ExampleInputs = Callable[[int], Mapping[str, Tensor]]
"""Function that returns example inputs by name, for a batch of that size."""
RunGraph = Callable[[Mapping[str, Tensor]], Tensor]
"""Function that computes the output of a graph from its inputs by name, with ONNX Runtime."""


class ExportError(EquipoiseError):
    """A network cannot be exported, or the export does not compute the same samples."""


def encode_graph(
    module: nn.Module, inputs: ExampleInputs, output: str, metadata: Mapping[str, str]
) -> tuple[bytes, RunGraph]:
    """Trace a module with one output, for any batch size; return the ONNX file and a function that runs it.

    `metadata`: "model" is the name of the model in messages. Raises ExportError, naming the problem, if a package is
    missing or the module cannot be traced.
    """
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ExportError(PACKAGES_MISSING) from error
    if find_spec("onnxscript") is None:  # torch needs it to export
        raise ExportError(PACKAGES_MISSING)
    try:
        with _suppress_exporter_output():
            graph = _trace(module, inputs(TRACE_BATCH), output)
        for node in graph.graph.node:
            del node.metadata_props[:]  # stack traces with the paths of this machine
        onnx.helper.set_model_props(graph, dict(metadata))
        onnx.checker.check_model(graph)
        content = graph.SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

        def run_graph(values: Mapping[str, Tensor]) -> Tensor:
            (result,) = session.run(None, {name: value.numpy() for name, value in values.items()})
            return torch.from_numpy(result)

        run_graph(inputs(CHECK_BATCH))
    except Exception as error:  # Errors of three packages, which have no common base class.
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ExportError(
            f"{metadata['model']} cannot be exported to ONNX: {reason}; --format torch works for any model"
        ) from error
    return content, run_graph


def _trace(module: nn.Module, inputs: Mapping[str, Tensor], output: str) -> "ModelProto":
    """Trace the graph with named inputs and any batch size. Raises ValueError if the batch size became a constant."""
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        dynamo=True,
        input_names=tuple(inputs),
        output_names=[output],
        dynamic_shapes=tuple({0: torch.export.Dim("batch")} for _ in inputs),
        external_data=False,
        verbose=False,
    )
    assert program is not None
    graph = program.model_proto
    if not all(value.type.tensor_type.shape.dim[0].dim_param for value in (*graph.graph.input, *graph.graph.output)):
        raise ValueError("its batch size is fixed; Model.generate must use latent.shape[0], not len(latent)")
    return graph


def largest_difference(expected: Tensor, exported: Tensor, tolerance: float) -> float:
    """Return the largest difference between samples. Raises ExportError if it exceeds the tolerance or is NaN."""
    difference = float((expected - exported).abs().max())
    if expected.shape != exported.shape or not difference <= tolerance:
        raise ExportError(
            f"the samples of the exported generator differ by {difference:.1e} from those of the run; nothing was "
            "written; use another --format"
        )
    return difference


@contextmanager
def _suppress_exporter_output() -> Iterator[None]:
    """Suppress warnings and logs of the exporter; the exported samples are checked afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
