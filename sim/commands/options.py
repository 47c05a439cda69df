"""Options of a command, gathered in dataclasses."""

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import get_type_hints

ENVIRONMENT = ("--environment", "--env")
"""How the option is spelt that names an environment, wherever there is one."""


def gathered(command: Callable[..., None]) -> Callable[..., None]:
    """Return *command* for typer, with an option for each field of its parameters' dataclasses.

    A command with twenty options stays a function of three parameters, and options that belong
    together are handed on together. Fields are annotated as typer wants parameters to be.
    """
    hints = get_type_hints(command, include_extras=True)
    groups: dict[str, type] = {
        name: hint for name, hint in hints.items() if isinstance(hint, type) and is_dataclass(hint)
    }

    @wraps(command)
    def called(**values: object) -> None:
        for name, group in groups.items():
            own = {field.name: values.pop(field.name) for field in fields(group)}
            values[name] = group(**own)
        command(**values)

    own = [one for one in signature(command).parameters.values() if one.name not in groups]
    parameters = [one.replace(annotation=hints[one.name]) for one in own]
    for group in groups.values():
        parameters += _parameters(group)
    parameters = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in parameters]
    vars(called)["__signature__"] = Signature(parameters)
    called.__annotations__ = {one.name: one.annotation for one in parameters}
    return called


def _parameters(group: type) -> list[Parameter]:
    hints = get_type_hints(group, include_extras=True)
    parameters = []
    for field in fields(group):
        default = Parameter.empty if field.default is MISSING else field.default
        parameters.append(
            Parameter(
                field.name, Parameter.KEYWORD_ONLY, default=default, annotation=hints[field.name]
            )
        )
    return parameters
