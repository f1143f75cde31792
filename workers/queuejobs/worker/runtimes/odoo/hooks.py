"""Find out whether other code hooks into what happens to a job: then it must take the addon's path, which calls it.

The direct path writes the states ``started`` and ``done`` in SQL. This is equivalent only if no other addon overrides
the ORM's methods that write a job, patches the addon's ``Job`` or its controller, or tracks or depends on the fields
that change.
"""

from __future__ import annotations

from typing import Any, Iterator

from .process import addon

# modules of Odoo, of the addon, and of the addons that it depends on: their code is no foreign hook
_OWN = (
    "odoo.models", "odoo.orm.", "odoo.fields", "odoo.api", "odoo.addons.base.", "odoo.addons.mail.", "odoo.addons.bus.",
    "odoo.addons.web.", "odoo.addons.base_sparse_field.", "odoo.addons.queue_job.", "odoo.http", "odoo.tools.",
)  # fmt: skip
_WRITTEN = (
    "state", "date_enqueued", "date_started", "date_done", "exec_time", "result", "exc_name", "exc_message",
    "exc_info", "worker_pid", "retry",
)  # fmt: skip
_STORE_VALUES = "_job_store_values"


def controller(registry: Any) -> Any:
    """The class of the addon's controller, or the subclass of it in an installed addon that Odoo would use."""
    current = addon("controllers.main").RunJobController
    while True:
        subclasses = [
            subclass
            for subclass in current.__subclasses__()
            if _addon_name(subclass.__module__) in registry._init_modules
        ]
        if not subclasses:
            return current
        current = subclasses[-1]


def reason_for_addon(registry: Any) -> str:
    """Why all jobs of this database must take the addon's path; empty if they need not."""
    return next(_reasons(registry), "")


def declared(env: Any, model_name: str, method_name: str) -> Any:
    """The addon's ``JobConfig`` of a method, which Odoo caches."""
    functions = env["queue.job.function"].sudo()
    return functions.job_config(functions.job_function_name(model_name, method_name))


def reason_of_job(env: Any, config: Any, model_name: str, method_name: str) -> str:
    """Why jobs of this method must take the addon's path; empty if they need not."""
    if getattr(config, "allow_commit", False):
        return "its function may commit"
    if model_name not in env.registry:
        return ""  # decoding the recordset raises the error
    model = type(env[model_name])
    stores = getattr(model, _STORE_VALUES, None)
    if hasattr(model, f"{_STORE_VALUES}_for_{method_name}") or not _is_own(_module_of(stores)):
        return f"{model_name} stores values of its own"
    return ""


def _reasons(registry: Any) -> Iterator[str]:
    model = registry["queue.job"]
    for name in ("create", "write", "_write"):
        for base in model.__mro__:
            method = vars(base).get(name)
            if method is not None and not _is_own(_module_of(method)):
                yield f"{_module_of(method)} overrides queue.job.{name}"
    for field in map(model._fields.get, _WRITTEN):
        if field is None:
            continue
        if getattr(field, "tracking", None) and field.name != "exc_message":
            yield f"queue.job.{field.name} is tracked"
        for dependent in _dependent(registry, field):
            if dependent.store:
                yield f"{dependent} is computed from queue.job.{field.name}"
    stock_controller = addon("controllers.main").RunJobController
    for kind, stock_class in (("Job", addon("job").Job), ("RunJobController", stock_controller)):
        for name, member in vars(stock_class).items():
            if not _is_own(_module_of(member)):
                yield f"{_module_of(member)} patches {kind}.{name}"
    if controller(registry) is not stock_controller:
        yield f"{controller(registry).__module__} overrides the controller"


def _dependent(registry: Any, field: Any) -> Any:
    if hasattr(registry, "get_dependent_fields"):
        return registry.get_dependent_fields(field)
    # before Odoo 16: a tree, keyed by the fields on the way; the key None holds the dependent fields
    return registry.field_triggers.get(field, {}).get(None, ())


def _module_of(member: Any) -> str:
    """The name of the module that defines a method or property; empty for anything else."""
    if isinstance(member, property):
        member = member.fget
    member = getattr(member, "__func__", member)
    return str(getattr(member, "__module__", None) or "") if callable(member) else ""


def _is_own(module_name: str) -> bool:
    return not module_name or module_name.startswith(_OWN)


def _addon_name(module_name: str) -> str:
    """``sale`` for ``odoo.addons.sale.controllers``."""
    return module_name.split(".")[2] if module_name.startswith("odoo.addons.") else ""
