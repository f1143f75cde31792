"""A recordset: the ids of records of one model, with an environment. It is not an ORM."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Tuple, TypeVar, Union

from .environment import Environment

Id = Union[int, str]
Self = TypeVar("Self", bound="Recordset")

# keys of the context that are stored with a job, unless its model overrides them
CONTEXT_KEYS = ("tz", "lang", "allowed_company_ids", "force_company", "active_test")


class Recordset:
    """Base of all models. Applications derive theirs from :class:`queuejobs.Model`."""

    _name: str = ""

    def __init__(self, env: Environment, ids: Iterable[Id] = ()) -> None:
        self.env = env
        self._ids: Tuple[Id, ...] = tuple(ids)

    @property
    def ids(self) -> List[Id]:
        """The ids as a new list (psycopg2 passes a list as an SQL array)."""
        return list(self._ids)

    @property
    def id(self) -> Any:
        """The id of the only record; None if there is no record, ``ValueError`` if there are several."""
        return self.ensure_one()._ids[0] if self._ids else None

    def browse(self: Self, ids: Union[Id, Iterable[Id], None] = None) -> Self:
        """The records with these ids (one id, or any number), in the same model and environment. None: no records."""
        if ids is None:
            return type(self)(self.env)
        return type(self)(self.env, (ids,) if isinstance(ids, (int, str)) else ids)

    def with_env(self: Self, env: Environment) -> Self:
        """The same records in another environment."""
        return type(self)(env, self._ids)

    def with_context(self: Self, *context: Dict[str, Any], **changes: Any) -> Self:
        """The same records with ``changes`` added to their context, or to the context that is passed instead."""
        base = context[0] if context else self.env.context
        return self.with_env(self.env(context={**base, **changes}))

    def with_user(self: Self, user_id: int) -> Self:
        """The same records as another user."""
        return self.with_env(self.env(user_id=user_id, su=False))

    def with_company(self: Self, company_id: int) -> Self:
        """The same records in another company."""
        return self.with_env(self.env(company_id=company_id))

    def ensure_one(self: Self) -> Self:
        """Itself if it holds exactly one record, else ``ValueError``."""
        if len(self._ids) != 1:
            raise ValueError(f"expected one record, got {len(self._ids)}: {self!r}")
        return self

    def _job_prepare_context_before_enqueue_keys(self) -> Tuple[str, ...]:
        """The keys of the context that are stored with a job. Override it to let other keys through."""
        return CONTEXT_KEYS

    def _job_prepare_context_before_enqueue(self) -> Dict[str, Any]:
        """The context that is stored with a job. Override it to compute values."""
        allowed = self._job_prepare_context_before_enqueue_keys()
        return {key: value for key, value in self.env.context.items() if key in allowed}

    def _job_store_values(self, job: Any) -> Dict[str, Any]:
        """Values for columns that the application added to the table of jobs, by column name.

        A method ``_job_store_values_for_<method>(job)`` does the same for one method; its values win.
        """
        return {}

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self: Self) -> Iterator[Self]:
        return (type(self)(self.env, (record_id,)) for record_id in self._ids)

    def __getitem__(self: Self, index: Union[int, slice]) -> Self:
        chosen = self._ids[index]
        return type(self)(self.env, chosen if isinstance(chosen, tuple) else (chosen,))

    def __contains__(self, record: object) -> bool:
        return isinstance(record, Recordset) and record._name == self._name and record.id in self._ids

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Recordset):
            return NotImplemented
        return self._name == other._name and set(self._ids) == set(other._ids)

    def __hash__(self) -> int:
        return hash((self._name, frozenset(self._ids)))

    def __repr__(self) -> str:
        return f"{self._name or type(self).__name__}({', '.join(map(repr, self._ids))})"
