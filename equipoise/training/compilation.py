"""Compilation of networks with torch.compile, and the errors of it that a user can solve."""

from collections.abc import Iterator
from contextlib import contextmanager

from equipoise.errors import SettingError
from equipoise.training.state import TrainingState


def compile_generators(state: TrainingState) -> None:
    """Compile in place, at their first calls, the networks that have an average: generators.

    Names of weights do not change. Discriminators remain as they are: gradient penalties differentiate their gradient,
    which torch.compile does not support. Averages are not compiled: the same weights give the same samples.
    Raises SettingError for models whose training does not call the generator as a whole, and for networks that grow,
    which would be compiled again at every step.
    """
    model = state.model
    if model.styles is not None or len(model.measured_at) > 1:
        raise SettingError(f"compile = true: {model.name} does not call its generator as a whole; omit --compile")
    for name in state.averages:
        state.model.networks[name].compile()


@contextmanager
def compilation_errors(*, is_compiled: bool) -> Iterator[None]:
    """Turn errors of torch.compile in the context into a SettingError of one line."""
    if not is_compiled:
        yield
        return
    from torch._dynamo.exc import TorchDynamoException

    try:
        yield
    except (RuntimeError, TorchDynamoException) as error:
        if "double backward" in str(error):
            reason = "this model differentiates gradients of its generator, which torch.compile does not support"
        elif isinstance(error, TorchDynamoException) or "_inductor" in type(error).__module__:
            reason = f"torch.compile failed ({' '.join(str(error).split())[:100] or type(error).__name__})"
        else:
            raise
        raise SettingError(f"compile = true: {reason}; omit --compile") from error
