"""Who wants to see what happens to a job: then it takes the addon's own path, and every hook is called as ever.

The direct path writes started and done in SQL. That is the same thing only as long as nobody has put something of his
own around the ORM's write of a job, around the addon's ``Job`` and its controller, or on the fields that change.
"""

from __future__ import annotations

from typing import Any, Iterator

from .process import module

_JOB = "odoo.addons.queue_job.job"
_CONTROLLER = "odoo.addons.queue_job.controllers.main"
# Odoo itself, the addon, and what it is built on
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
    """The controller's class, or what an installed addon made of it."""
    found = module(_CONTROLLER).RunJobController
    while True:
        heirs = [heir for heir in found.__subclasses__() if _addon(heir.__module__) in registry._init_modules]
        if not heirs:
            return found
        found = heirs[-1]


def reason_for_addon(registry: Any) -> str:
    """Why all jobs of this database must take the addon's path; empty when they need not."""
    return next(_reasons(registry), "")


def declared(env: Any, model_name: str, method_name: str) -> Any:
    """What the addon knows about a method as a job: its ``JobConfig``, cached by Odoo."""
    functions = env["queue.job.function"].sudo()
    return functions.job_config(functions.job_function_name(model_name, method_name))


def reason_of_job(env: Any, config: Any, model_name: str, method_name: str) -> str:
    """Why jobs of this method must; empty when they need not."""
    if getattr(config, "allow_commit", False):
        return "its function may commit"
    if model_name not in env.registry:
        return ""  # to decode the recordset will say so
    model = type(env[model_name])
    stores = getattr(model, _STORE_VALUES, None)
    if hasattr(model, f"{_STORE_VALUES}_for_{method_name}") or not _is_own(_where(stores)):
        return f"{model_name} stores values of its own"
    return ""


def _reasons(registry: Any) -> Iterator[str]:
    model = registry["queue.job"]
    for name in ("create", "write", "_write"):
        for part in model.__mro__:
            method = vars(part).get(name)
            if method is not None and not _is_own(_where(method)):
                yield f"{_where(method)} overrides queue.job.{name}"
    for field in map(model._fields.get, _WRITTEN):
        if field is None:
            continue
        if getattr(field, "tracking", None) and field.name != "exc_message":
            yield f"queue.job.{field.name} is tracked"
        for dependent in _dependent(registry, field):
            if dependent.store:
                yield f"{dependent} is computed from queue.job.{field.name}"
    for where, kind in ((_JOB, "Job"), (_CONTROLLER, "RunJobController")):
        for name, member in vars(getattr(module(where), kind)).items():
            if not _is_own(_where(member)):
                yield f"{_where(member)} patches {kind}.{name}"
    if controller(registry) is not module(_CONTROLLER).RunJobController:
        yield f"{controller(registry).__module__} overrides the controller"


def _dependent(registry: Any, field: Any) -> Any:
    if hasattr(registry, "get_dependent_fields"):
        return registry.get_dependent_fields(field)
    # before 16: a tree, keyed by fields on the way; None holds what it leads to
    return registry.field_triggers.get(field, {}).get(None, ())


def _where(member: Any) -> str:
    """The module that a method or property was written in; of anything else, nothing."""
    if isinstance(member, property):
        member = member.fget
    member = getattr(member, "__func__", member)
    return str(getattr(member, "__module__", None) or "") if callable(member) else ""


def _is_own(where: str) -> bool:
    return not where or where.startswith(_OWN)


def _addon(where: str) -> str:
    """``sale`` of ``odoo.addons.sale.controllers``."""
    return where.split(".")[2] if where.startswith("odoo.addons.") else ""
