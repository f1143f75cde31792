"""The models of this process, by name. Importing an application's modules fills it."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Type

from .exception import NoSuchModelError

_models: Dict[str, Type[Any]] = {}


def register(name: str, model: Type[Any]) -> None:
    """Make ``model`` the class of ``name``.

    It may replace a class that it inherits from (an extension of it), and the same class from a module that is
    loaded twice. ``ValueError`` for any other class: one of the two would silently never run.
    """
    registered = _models.get(name)
    if (
        registered is not None
        and not issubclass(model, registered)
        and not _is_same_source(model, registered)
    ):
        raise ValueError(
            f"model {name!r} is defined by {_path(registered)} already: let {_path(model)} inherit from it"
            " to extend it, or give it another _name"
        )
    _models[name] = model


def find(name: str) -> Type[Any]:
    """The class of model ``name``; :class:`NoSuchModelError` lists the registered models."""
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


def _is_same_source(first: Type[Any], second: Type[Any]) -> bool:
    # a module that runs as a script defines its models in __main__, and once more when it is imported by its name
    modules = {first.__module__, second.__module__}
    return first.__qualname__ == second.__qualname__ and (len(modules) == 1 or "__main__" in modules)


def _path(model: Type[Any]) -> str:
    return f"{model.__module__}.{model.__qualname__}"
