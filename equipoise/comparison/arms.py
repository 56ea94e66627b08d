"""Controllers of arms: their random seeds, and the policies that they follow.

The controllers of a chain are processed one by one; their options are in the `settings` of the chain.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterator

from equipoise.comparison.plan import ComparisonPlan
from equipoise.comparison.plan_checks import base_name, check_disjoint_data
from equipoise.controllers.chain import Chain
from equipoise.core import catalog
from equipoise.errors import EquipoiseError
from equipoise.experiment.data_source import parse_data_source
from equipoise.experiment.settings import PlugSpec
from equipoise.meta.tasks import TaskDistribution
from equipoise.policy.files import Policy, load_policy, resolve_policy_paths


def with_seed(controller: PlugSpec, seed: int) -> PlugSpec:
    """Return the controller with the seed of the run, if it draws random numbers and its seed is not set."""

    def set_seed(spec: PlugSpec) -> PlugSpec:
        return spec.with_options(seed=seed) if _accepts(spec, "seed") and "seed" not in spec.options else spec

    return _map_controllers(controller, set_seed)


def pin_policies(plan: ComparisonPlan) -> ComparisonPlan:
    """Return the plan with full paths and digests of all policies, so that another policy file is another plan.

    A policy that is itself tuned is not pinned. Raises EquipoiseError for a policy that does not exist.
    """
    arms = {
        name: arm
        if "controller.policy" in arm.search
        else dataclasses.replace(arm, controller=_map_controllers(arm.controller, _with_digest))
        for name, arm in plan.arms.items()
    }
    return dataclasses.replace(plan, arms=arms)


def check_policies(plan: ComparisonPlan) -> None:
    """Raise SettingError for an arm whose policy was trained on data that a task tests on, according to its file."""
    test_data = {base_name(parse_data_source(task.data.name).name) for task in plan.tasks.values()}
    for name, arm in plan.arms.items():
        for policy in _policies(arm.controller):
            for data in _training_data(policy):
                if base_name(data.name) in test_data:
                    check_disjoint_data(plan, f"the policy of arm '{name}' was trained on '{data.name}'", data)


def controller_names(controller: PlugSpec) -> list[str]:
    """Return the name of the controller, or the names of the controllers of a chain, without building any."""
    if catalog.load("controllers", controller.name) is not Chain:
        return [controller.name]
    preset = controller.name.partition(":")[2]
    options = {**(catalog.presets("controllers", "chain")[preset] if preset else {}), **controller.options}
    names = options.get("of", Chain.of)
    return [name.strip() for name in names.split(",")] if isinstance(names, str) else list(names)


def _map_controllers(controller: PlugSpec, change: Callable[[PlugSpec], PlugSpec]) -> PlugSpec:
    """Apply a change to a controller, or to every controller of a chain."""
    if catalog.load("controllers", controller.name) is not Chain:
        return change(controller)
    chain: Chain = catalog.build("controllers", controller.name, controller.options)
    options = {
        name: _map_controllers(PlugSpec(name, chain.settings.get(name, {})), change).options for name in chain.of
    }
    settings = {name: dict(values) for name, values in options.items() if values}
    return controller.with_options(settings=settings) if settings else controller


def _accepts(controller: PlugSpec, option: str) -> bool:
    return option in inspect.signature(catalog.load("controllers", controller.name)).parameters


def _with_digest(controller: PlugSpec) -> PlugSpec:
    if not (_accepts(controller, "policy") and _accepts(controller, "digest")):
        return controller
    digest = catalog.build("controllers", controller.name, controller.options).digest
    return PlugSpec(controller.name, resolve_policy_paths(controller.options)).with_options(digest=digest)


def _policies(controller: PlugSpec) -> list[Policy]:
    """Return the policies that an arm follows. Raises EquipoiseError for one that does not exist."""
    policies: list[Policy] = []

    def collect(spec: PlugSpec) -> PlugSpec:
        if _accepts(spec, "policy"):
            policies.append(load_policy(catalog.build("controllers", spec.name, spec.options).policy).policy)
        return spec

    _map_controllers(controller, collect)
    return policies


def _training_data(policy: Policy) -> Iterator[PlugSpec]:
    """Yield the data that a policy was trained on; nothing if its file does not name them in a readable form."""
    plan = policy.training.get("plan", {})
    try:
        yield from TaskDistribution(plan.get("task", {}), plan.get("vary", {})).data()
    except EquipoiseError:
        return
