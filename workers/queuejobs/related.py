"""Related actions: what a person who looks at a job can open. The application's code, run in its interpreter."""

from __future__ import annotations

from typing import Any, Dict, Optional

from .environment import QUEUE, Environment
from .exception import NoSuchMethodError
from .functions import lookup
from .recordset import Recordset


def related_action(env: Environment, job_id: Optional[int], records: Recordset, method_name: str) -> Any:
    """The action declared for a job's method; None if it is disabled or there is nothing to open.

    The declared ``func_name`` is a method of the model ``queue.job``, called on the job, or else of the job's own
    model, called on the job's records; the declared ``kwargs`` are its arguments. Without a ``func_name`` the
    action opens the records. :class:`NoSuchMethodError` if neither model has the method.
    """
    declared = lookup(records._name, method_name).related_action or {}
    if not declared.get("enable", True):
        return None
    name = declared.get("func_name")
    if not name:
        return open_records(records)
    for target in (env[QUEUE].browse(job_id), records):
        if callable(getattr(type(target), name, None)):
            return getattr(target, name)(**declared.get("kwargs", {}))
    raise NoSuchMethodError(f"{QUEUE}' or '{records._name}", name, [])


def open_records(records: Recordset) -> Optional[Dict[str, Any]]:
    """The action that opens one record as a form and several as a list; None without records."""
    if not records:
        return None
    action: Dict[str, Any] = {"type": "ir.actions.act_window", "res_model": records._name}
    if len(records) == 1:
        return {**action, "name": "Related Record", "view_mode": "form", "res_id": records.id}
    domain = [["id", "in", records.ids]]
    return {**action, "name": "Related Records", "view_mode": "list,form", "domain": domain}
