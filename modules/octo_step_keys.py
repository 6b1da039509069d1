"""The keys of graph and arrow dicts: what each may hold, and what the model makes of it.

A key that is missing has the default of its field in `octo_step_graph.Node` and `Arrow`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from octo_errors import did_you_mean
from octo_step_problem import Reporter, shown


@dataclass(frozen=True, slots=True)
class Key:
    """What the value of a key must be, and the field of the model that it is for, if any."""

    field: str
    expected: str
    accepts: Callable[[Any], bool]
    convert: Callable[[Any], Any]


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= sys.float_info.max


def _are_attributes(value: object) -> bool:
    return isinstance(value, dict) and all(
        isinstance(key, str) and isinstance(each, (str, int, float)) for key, each in value.items()
    )


def _as_text(attributes: dict[str, object]) -> dict[str, str]:
    return {
        key: str(value).lower() if isinstance(value, bool) else str(value)
        for key, value in attributes.items()
    }


def _flag(field: str) -> Key:
    return Key(field, "0 or 1", lambda v: type(v) in (int, bool) and v in (0, 1), bool)


def _name(field: str) -> Key:
    return Key(field, "a name", lambda v: isinstance(v, str) and v != "", str)


def _count(field: str) -> Key:
    return Key(field, "a whole number, 0 or more", lambda v: type(v) is int and v >= 0, int)


def _number(field: str) -> Key:
    return Key(field, "a number, 0 or more", _is_number, float)


def _share(field: str) -> Key:
    return Key(field, "a number from 0 to 1", lambda v: _is_number(v) and v <= 1, float)


def _limit(field: str) -> Key:
    return Key(
        field,
        "a number of seconds, 0 or more, or None",
        lambda v: v is None or _is_number(v),
        lambda v: float(v) if v else None,
    )


def _choice(field: str, *choices: str) -> Key:
    expected = f"one of {', '.join(map(repr, choices))}"
    return Key(field, expected, lambda v: isinstance(v, str) and v in choices, str)


def _attributes(field: str) -> Key:
    return Key(field, "a dict of strings and numbers", _are_attributes, _as_text)


NODE_KEYS: dict[str, Key] = {
    "module_name_string": _name(""),
    "node_step_name_string": _name(""),
    "dg_node_attr_dict": _attributes("attributes"),
    "first_node_step_bool": _flag(""),
    "active_node_step_bool": _flag("active"),
    "node_entry_breakpoint": _flag("entry_breakpoint"),
    "node_exit_breakpoint": _flag("exit_breakpoint"),
    "skip_step_node_execute_bool": _flag("skip_execute"),
    "timeout_seconds": _limit("timeout_s"),
    "max_retries": _count("max_retries"),
    "retry_delay_seconds": _number("retry_delay_s"),
    "retry_backoff_factor": _number("retry_backoff"),
    "retry_jitter_factor": _share("retry_jitter"),
    "error_arrow_key": _name("error_arrow_key"),
    "join_all_bool": _flag("join_all"),
    "on_interrupt": _choice("on_interrupt", "rerun", "ask", "skip", "probe"),
    "own_process_bool": _flag("own_process"),
}
DEPENDENCY_KEYS: dict[str, Key] = NODE_KEYS | {
    "continue_on_error_bool": _flag("continue_on_error"),
    "finally_bool": _flag("is_final"),
    "foreach_limit": _count("items_at_once"),
}
"""The keys of a node in a graph whose arrows are dependencies."""
ARROW_KEYS: dict[str, Key] = {
    "module_name_string": _name("module"),
    "arrow_step_name_string": _name("target"),
    "dg_edge_attr_dict": _attributes("attributes"),
    "active_arrow_step_bool": _flag("active"),
}


def read_keys(
    given: Mapping[Any, Any], known: Mapping[str, Key], report: Reporter, *inside: object
) -> dict[str, Any]:
    """The values of a dict that are as they must be, converted, by the field they are for.

    Args:
        inside: Where the dict is, for the report: the member of the class, and the key in it.
    """
    fields = {}
    for name, value in given.items():
        key = known.get(name)
        if key is None:
            message = f"{inside[0]}[{shown(inside[1])}] has an unknown key, {shown(name)}"
            report.error(message, *inside, name, hint=did_you_mean(str(name), known))
        elif not key.accepts(value):
            report.error(f"{name} must be {key.expected}, and is {shown(value)}", *inside, name)
        elif key.field:
            fields[key.field] = key.convert(value)
    return fields
