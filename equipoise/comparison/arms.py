"""What an arm brings along besides its settings: policies that it follows, and random numbers of its own.

Controllers within a chain are looked at one by one; their options lie in the chain's `settings`.
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterator

from equipoise.comparison.plan import Plan, check_apart, plain_name
from equipoise.controllers.chain import Chain
from equipoise.core import catalog
from equipoise.errors import EquipoiseError
from equipoise.experiment.settings import PlugSpec, named_data
from equipoise.meta.tasks import Tasks
from equipoise.policy.files import Policy, read, rooted


def seeded(controller: PlugSpec, seed: int) -> PlugSpec:
    """The same controller, drawing otherwise with every seed of the plan, if it draws and does not say how."""

    def drawing(one: PlugSpec) -> PlugSpec:
        return one.with_options(seed=seed) if _takes(one, "seed") and "seed" not in one.options else one

    return _linked(controller, drawing)


def pinned(plan: Plan) -> Plan:
    """The same plan with full paths and digests of the policies that arms follow: another file is another plan.

    A policy that is itself searched for is left open. Raises EquipoiseError for one that there is not.
    """
    arms = {
        name: arm
        if "controller.policy" in arm.search
        else dataclasses.replace(arm, controller=_linked(arm.controller, _with_digest))
        for name, arm in plan.arms.items()
    }
    return dataclasses.replace(plan, arms=arms)


def check_policies(plan: Plan) -> None:
    """Raise SettingError for an arm whose policy was trained on data that a task tests on, as its file says."""
    tested = {plain_name(named_data(task.data.name).name) for task in plan.tasks.values()}
    for name, arm in plan.arms.items():
        for policy in _policies(arm.controller):
            for data in _trained_on(policy):
                if plain_name(data.name) in tested:
                    check_apart(plan, f"the policy of arm '{name}' was trained on '{data.name}'", data)


def links(controller: PlugSpec) -> list[str]:
    """The names of the controllers that decide: of a chain its links, without building any of them."""
    if catalog.load("controllers", controller.name) is not Chain:
        return [controller.name]
    preset = controller.name.partition(":")[2]
    options = {**(catalog.presets("controllers", "chain")[preset] if preset else {}), **controller.options}
    of = options.get("of", Chain.of)
    return [name.strip() for name in of.split(",")] if isinstance(of, str) else list(of)


def _linked(controller: PlugSpec, change: Callable[[PlugSpec], PlugSpec]) -> PlugSpec:
    """A controller with its options changed, or those of every link of a chain."""
    if catalog.load("controllers", controller.name) is not Chain:
        return change(controller)
    chain: Chain = catalog.build("controllers", controller.name, controller.options)
    settings = {name: _linked(PlugSpec(name, chain.settings.get(name, {})), change).options for name in chain.of}
    told = {name: dict(options) for name, options in settings.items() if options}
    return controller.with_options(settings=told) if told else controller


def _takes(controller: PlugSpec, option: str) -> bool:
    return option in inspect.signature(catalog.load("controllers", controller.name)).parameters


def _with_digest(controller: PlugSpec) -> PlugSpec:
    if not (_takes(controller, "policy") and _takes(controller, "digest")):
        return controller
    digest = catalog.build("controllers", controller.name, controller.options).digest
    return PlugSpec(controller.name, rooted(controller.options)).with_options(digest=digest)


def _policies(controller: PlugSpec) -> list[Policy]:
    """What an arm follows. Raises EquipoiseError for a policy that there is not."""
    result: list[Policy] = []

    def seen(one: PlugSpec) -> PlugSpec:
        if _takes(one, "policy"):
            result.append(read(catalog.build("controllers", one.name, one.options).policy).policy)
        return one

    _linked(controller, seen)
    return result


def _trained_on(policy: Policy) -> Iterator[PlugSpec]:
    """The data that its training drew from; none where its file says nothing that can be read."""
    plan = policy.training.get("plan", {})
    try:
        yield from Tasks(plan.get("task", {}), plan.get("vary", {})).data()
    except EquipoiseError:
        return
