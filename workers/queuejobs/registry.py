"""The models of this process, by name. Importing an application's modules fills it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Type

from .exception import NoSuchModelError

_models: Dict[str, Type[Any]] = {}


def register(name: str, model: Type[Any]) -> None:
    """Make ``model`` the class of ``name``.

    A subclass of the model registered so far extends it and takes its place; so does the same
    class defined again (a module that is loaded twice). Another class is a ``ValueError``: one
    of the two would silently never run.
    """
    present = _models.get(name)
    if present is not None and not issubclass(model, present) and not _is_same_source(model, present):
        raise ValueError(
            f"model {name!r} is defined by {_path(present)} already: let {_path(model)} inherit from it"
            " to extend it, or give it another _name"
        )
    _models[name] = model


def find(name: str) -> Type[Any]:
    """The class of model ``name``; :class:`NoSuchModelError` lists what there is."""
    try:
        return _models[name]
    except KeyError:
        raise NoSuchModelError(name, _models) from None


def get(name: str) -> Optional[Type[Any]]:
    """The class of model ``name``, None if there is none."""
    return _models.get(name)


def names() -> List[str]:
    """All registered names, sorted."""
    return sorted(_models)


def _is_same_source(one: Type[Any], other: Type[Any]) -> bool:
    # a script defines its models as __main__'s, and again when a worker imports it by its name
    modules = {one.__module__, other.__module__}
    return one.__qualname__ == other.__qualname__ and (len(modules) == 1 or "__main__" in modules)


def _path(model: Type[Any]) -> str:
    return f"{model.__module__}.{model.__qualname__}"
