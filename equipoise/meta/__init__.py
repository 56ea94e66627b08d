"""Meta-learning: training of policies on many short runs, a Gymnasium environment, and stacked runs.

With the extra `rl`, importing this package registers `equipoise/GanTraining-v0` with Gymnasium.
"""

from importlib.util import find_spec

if find_spec("gymnasium"):
    import gymnasium

    gymnasium.register("equipoise/GanTraining-v0", "equipoise.meta.environment:GanTraining")
