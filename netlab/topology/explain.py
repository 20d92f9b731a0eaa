"""pydantic's errors in the words of the language, with positions."""

from __future__ import annotations

from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from netlab.topology.model import Topology
from netlab.topology.scalars import describe_kind
from netlab.topology.source import Mistakes, Path, WrongError, quote

_EXPECTED = {
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "tuple_type": "a list",
}


def explain(
    error: ValidationError, mistakes: Mistakes, *, model: type[BaseModel] = Topology
) -> None:
    """Add what pydantic found to the mistakes.

    Args:
        error: What it found.
        mistakes: Those known so far.
        model: What the document should have been.
    """
    for detail in error.errors(include_url=False):
        _explain_one(detail, mistakes, model)


def _explain_one(detail: ErrorDetails, mistakes: Mistakes, model: type[BaseModel]) -> None:
    kind = detail["type"]
    if mistakes.holds(detail["loc"]):
        return  # its variable has no value: that the empty text is wrong too says nothing new
    # pydantic says that a key is meant, not its value, by a last element that no document has.
    key = bool(detail["loc"]) and detail["loc"][-1] == "[key]"
    path: Path = detail["loc"][:-1] if key else detail["loc"]
    if kind == "extra_forbidden":
        keys = _keys_at(path[:-1], model)
        hint = mistakes.suggest(str(path[-1]), keys, f"the keys are {', '.join(keys)}")
        mistakes.add(path, f"unknown key {quote(path[-1])}", hint, key=True)
    elif kind == "missing":
        mistakes.add(path[:-1], f"the key {quote(path[-1])} is missing")
    elif kind in _EXPECTED:
        found = describe_kind(detail["input"])
        mistakes.add(path, f"expected {_EXPECTED[kind]}, not {found}")
    else:
        wrong = detail.get("ctx", {}).get("error")
        message, hint = (
            (wrong.message, wrong.hint) if isinstance(wrong, WrongError) else (detail["msg"], "")
        )
        mistakes.add(path, message, hint, key=key)


def _keys_at(path: Path, model: type[BaseModel]) -> list[str]:
    """Return the keys that the mapping at a path of the document may have."""
    inside = False
    for part in path:
        if inside:  # the key of a mapping of models, or the index in a list of them
            inside = False
            continue
        for name, field in model.model_fields.items():
            if part in {name, field.alias}:
                found, inside = _model_in(field.annotation)
                model = found or model
    return [field.alias or name for name, field in model.model_fields.items()]


def _model_in(annotation: Any) -> tuple[type[BaseModel] | None, bool]:
    """Return the model in an annotation, and whether it is inside a mapping or a list."""
    origin = get_origin(annotation)
    if origin is None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            return annotation, False
        return None, False
    arguments = get_args(annotation)
    if origin is Annotated:
        arguments = arguments[:1]
    for argument in arguments:
        model, inside = _model_in(argument)
        if model is not None:
            return model, inside or origin not in {Union, UnionType, Annotated}
    return None, False
