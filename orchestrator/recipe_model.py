"""The format of recipes: every key, what it means, and what it may hold.

The JSON Schema for editors and the reference of keys are made from here. What takes more than one
key to judge is checked by `recipe_check`.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError

from octo_errors import did_you_mean
from orchestrator.recipe_document import (
    Document,
    KeyPath,
    Problem,
    Report,
    is_template,
    kind_of,
)
from orchestrator.recipe_kinds import (
    Arguments,
    Count,
    Delay,
    Executor,
    Factor,
    Flag,
    InputType,
    Name,
    Names,
    OnError,
    OnInterrupt,
    Positive,
    Seconds,
    Share,
    StepType,
    Text,
    TextOrFlag,
    TextOrList,
    Values,
    Whole,
    Written,
    WrittenOrList,
    refuse_null,
)

__all__ = [
    "KEYS_OF_TYPE",
    "Defaults",
    "Input",
    "Metadata",
    "Recipe",
    "Step",
    "json_schema",
    "parse_model",
]

SCHEMA_ID = "urn:octo-step-engine:recipe:1"

_NotNull = BeforeValidator(refuse_null)

# --- the models -----------------------------------------------------------------------------------


class _Part(BaseModel):
    """A mapping of a recipe."""

    model_config = ConfigDict(extra="forbid")
    _path: KeyPath = PrivateAttr(default=())
    _broken: frozenset[str] = PrivateAttr(default=frozenset())

    @property
    def path(self) -> KeyPath:
        """Where it stands in the document."""
        return self._path

    @property
    def broken(self) -> frozenset[str]:
        """Its keys whose values were wrong: they have their defaults, or of `steps` some lack."""
        return self._broken


class Metadata(_Part):
    """What the recipe is. Other keys may be added at will."""

    model_config = ConfigDict(extra="allow")
    name: Written = Field(None, description="The recipe's name. Default: its file's name.")
    test_id: Written = Field(None, description="The recipe's name where there is no `name`.")
    version: Written = Field(None, description="The recipe's own version, as text.")
    description: Written = Field(None, description="What the recipe does.")
    author: Written = Field(None, description="Who wrote it.")
    tester: Written = Field(None, description="Who performs the test.")
    tags: WrittenOrList = Field(None, description="Words to find it by.")


class Input(_Part):
    """A value that the recipe is started with. A value alone is the default."""

    type: InputType = Field(
        "any", description="What values it takes. With a value alone: its type."
    )
    default: Any = Field(
        None, description="Its value where none is given. Without: it is required."
    )
    description: Text = Field(None, description="What it is for.")
    choices: Values = Field(None, description="The only values that are allowed.")
    secret: Flag = Field(
        False,
        description="Keep it out of files, events, logs and errors. Its only default is null.",
    )
    env: Text = Field(None, description="The environment variable that it comes from if not given.")

    @property
    def is_required(self) -> bool:
        """Must it be given?"""
        return "default" not in self.model_fields_set


class _Attempts(_Part):
    """How often a step is tried, and for how long."""

    timeout: Seconds = Field(None, description="Seconds after which an attempt is ended.")
    retries: Count = Field(None, description="Further attempts after a failed one. Default: 0.")
    max_retries: Count = Field(None, description="Another name of `retries`.")
    retry_delay: Delay = Field(None, description="Seconds before the second attempt. Default: 0.")
    retry_backoff: Factor = Field(
        None, description="The delay grows by this factor at each attempt. Default: 1."
    )
    retry_jitter: Share = Field(
        None, description="The share of the delay that is left to chance, 0 to 1. Default: 0."
    )
    on_error: OnError = Field(
        None,
        description="When the last attempt has failed: end the run (fail, the default), go on as if"
        " it were done (continue), or go on at another step ({go_to: STEP}).",
    )


class Defaults(_Attempts):
    """What holds for every step that doesn't say otherwise."""

    on_interrupt: OnInterrupt = Field(
        None, description="What happens with a step that a kill interrupted. Default: rerun."
    )
    executor: Executor = Field(None, description="Where steps run. Default: threads.")
    workers: Positive = Field(None, description="How many steps run at once.")


class Success(_Part):
    """What must be true after a step, or else it has failed."""

    ctx_has_keys: Names = Field([], description="Keys that the context must have.")
    files_exist: Names = Field([], description="Files that there must be.")


class Step(_Attempts):
    """One step of the recipe."""

    name: Name = Field(description="Its name: one of its own.")
    idx: Whole = Field(
        None, description="Orders steps that are ready at the same time. Default: their order here."
    )
    type: StepType = Field(
        "python",
        description="What it performs: a Python class or function, a shell command, a node of a"
        " step library, or another recipe.",
    )
    module: Text = Field(
        None, description="python: the module; step_node: the step library, by name or path."
    )
    function: Text = Field(
        None, description="python: the class or function in the module; step_node: the node."
    )
    command: TextOrList = Field(
        None, description="shell: a text that the shell runs, or a list that is run as it is."
    )
    recipe: Text = Field(None, description="recipe: its file, seen from this one.")
    args: Arguments = Field(
        None,
        description="python: the arguments, by name or in order; shell: command, env, directory;"
        " recipe: its inputs; step_node: values for its parameter groups.",
    )
    depends_on: Names = Field([], description="The steps that must be done before.")
    when: TextOrFlag = Field(
        None,
        description="An expression; where it is false, the step is skipped, and counts as done.",
    )
    foreach: TextOrList = Field(
        None, description="A list, or an expression that gives one: the step runs for each `item`."
    )
    foreach_limit: Positive = Field(None, description="How many items at once. Default: all.")
    description: Text = Field(None, description="What the step does.")
    success: Annotated[Success | None, _NotNull] = Field(
        None, description="What must be true after it."
    )
    finally_: Flag = Field(
        False,
        alias="finally",
        description="It runs at the end, also after a failure or a stop.",
    )
    on_interrupt: OnInterrupt = Field(
        None,
        description="When a kill interrupted it: do it again (rerun), stop and ask, or skip it.",
    )
    enabled: Flag = Field(True, description="false: the step is left out, as if it were done.")


class Recipe(_Part):
    """A recipe: steps, and in which order they can be performed."""

    format: Whole = Field(
        1, description="The version of this format: 1.", json_schema_extra={"const": 1}
    )
    metadata: Annotated[Metadata | None, _NotNull] = Field(None, description="What the recipe is.")
    test_meta: Annotated[Metadata | None, _NotNull] = Field(
        None, description="Another name of `metadata`."
    )
    inputs: dict[str, Input] = Field({}, description="Values that the recipe is started with.")
    defaults: Defaults = Field(
        default_factory=lambda: Defaults.model_validate({}),
        description="What holds for every step.",
    )
    steps: list[Step] = Field(description="What is to be done.", json_schema_extra={"minItems": 1})

    def ordered_steps(self) -> list[Step]:
        """The steps by `idx`, or by their place where it is missing; finally steps come last."""
        places = {id(step): place for place, step in enumerate(self.steps)}

        def rank(step: Step) -> tuple[bool, int]:
            return step.finally_, places[id(step)] if step.idx is None else step.idx

        return sorted(self.steps, key=rank)

    def error_target(self, step: Step) -> str | None:
        """The step that runs when `step` has failed, if one does."""
        chosen = self.defaults.on_error if step.on_error is None else step.on_error
        if not isinstance(chosen, dict) or step.finally_:
            return None
        target = chosen["go_to"]
        is_own = step.on_error is None and target == step.name  # it can't be its own way out
        return None if is_own else target


KEYS_OF_TYPE: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "python": (("module", "function"), ()),
    "shell": ((), ("command",)),
    "step_node": (("module", "function"), ()),
    "recipe": (("recipe",), ()),
}
"""For each type of step, the keys among those that only some types have: needed, and possible."""

# --- a document as a recipe -----------------------------------------------------------------------

PartT = TypeVar("PartT", bound=_Part)


def parse_model(document: Document) -> tuple[Recipe | None, list[Problem]]:
    """The recipe of a document, and all that is wrong with its shape.

    A value that is wrong is left out, so that the rest can be checked, too: see `broken`; also a
    step of which nothing can be made. There is no recipe where there is no list of steps.
    """
    problems = list(document.problems)
    return _Reader(document, Report(document, problems)).recipe(), problems


class _Reader:
    """Makes the parts of a recipe, each by itself."""

    def __init__(self, document: Document, report: Report) -> None:
        self.document, self.report = document, report

    def recipe(self) -> Recipe | None:
        value = self.document.value
        if not isinstance(value, dict):
            hint = "it begins with `steps:`"
            self.report.tell((), f"a recipe is a mapping, and this is {kind_of(value)}", hint)
            return None
        given = dict(value)
        for key in ("metadata", "test_meta"):
            if isinstance(given.get(key), dict):
                given[key] = self._part(Metadata, self._as_written(key, given[key]), (key,), key)
        if isinstance(given.get("defaults"), dict):
            given["defaults"] = self._part(Defaults, given["defaults"], ("defaults",), "defaults")
        if isinstance(given.get("inputs"), dict):
            given["inputs"] = self._inputs(given["inputs"])
        steps = given.get("steps")
        if isinstance(steps, list):
            given["steps"] = list(filter(None, map(self._step, range(len(steps)), steps)))
            if not steps:
                self.report.tell(("steps",), "steps must be a list of at least one")
        recipe = self._part(Recipe, given, (), "")
        if recipe and len(recipe.steps) < len(steps or ()):
            recipe._broken |= {"steps"}
        return recipe

    def _as_written(self, key: str, metadata: dict[str, Any]) -> dict[str, Any]:
        """Texts that look like numbers are the texts: version 1.10 is not 1.1."""
        written = {name: self.document.written((key, name)) for name in Metadata.model_fields}
        texts = {name: text for name, text in written.items() if text is not None}
        return {
            name: texts.get(name, value) for name, value in metadata.items() if value is not None
        }

    def _inputs(self, given: dict[str, Any]) -> dict[str, Input]:
        types = {str: "string", int: "integer", float: "number", bool: "boolean", list: "list"}
        inputs = {}
        for name, value in given.items():
            spec = value
            if not isinstance(value, dict):
                spec = {"type": types.get(type(value), "any"), "default": value}
            made = self._part(Input, spec, ("inputs", name), f"input {name!r}")
            if made is not None:
                inputs[name] = made
        return inputs

    def _step(self, place: int, value: Any) -> Step | None:
        if isinstance(value, dict) and len(value) == 1:
            [(key, inner)] = value.items()
            if isinstance(inner, dict):  # it is named by its key, as in other formats
                hint = f"write `- name: {key}`, and its other keys below that"
                self.report.tell(("steps", place), f"step {place + 1} has no name", hint)
                return None
        name = value.get("name") if isinstance(value, dict) else None
        subject = f"step {name!r}" if isinstance(name, str) else f"step {place + 1}"
        return self._part(Step, value, ("steps", place), subject)

    def _part(self, kind: type[PartT], value: Any, path: KeyPath, subject: str) -> PartT | None:
        """The part, without what is wrong in it; None where nothing can be made of it."""
        if not isinstance(value, dict):
            self.report.tell(path, f"{subject} must be a mapping, and is {kind_of(value)}")
            return None
        broken: frozenset[str] = frozenset()
        try:
            part = kind.model_validate(value)
        except ValidationError as wrong:
            errors = wrong.errors(include_url=False)
            broken = frozenset(str(error["loc"][0]) for error in errors)
            meant = self._tell_errors(kind, errors, path, subject)
            try:
                good = {key: each for key, each in value.items() if key not in broken}
                part = kind.model_validate(good)
            except ValidationError:  # what is missing, has been told
                return None
            broken |= meant - value.keys()
        part._path, part._broken = path, broken
        return part

    def _tell_errors(
        self, kind: type[_Part], errors: list[Any], path: KeyPath, subject: str
    ) -> frozenset[str]:
        """Tell all problems of a part; what only follows from a misspelt key is none.

        Returns:
            The keys that misspelt ones may be meant for.
        """
        unknown = [error["loc"] for error in errors if error["type"] == "extra_forbidden"]
        near = {
            where: self.report.near_names(str(where[-1]), _keys(_holder(kind, where)))
            for where in unknown
        }
        meant = frozenset(name for where in unknown if len(where) == 1 for name in near[where])
        for error in errors:
            where = error["loc"]
            if where in near:
                self._tell_unknown(kind, where, near[where], path, subject)
            elif not (error["type"] == "missing" and where[0] in meant):
                self._tell_error(error, path, subject)
        return meant

    def _tell_unknown(
        self, kind: type[_Part], where: KeyPath, near: list[str], path: KeyPath, subject: str
    ) -> None:
        key = str(where[-1])
        others = [name for other, name in _CALLED.items() if key in _keys(other)]
        if near:
            hint = did_you_mean(key, near)
        elif others:
            hint = f"it is a key of {' and of '.join(others)}: mind the indentation"
        else:
            hint = f"there are: {', '.join(_keys(_holder(kind, where)))}"
            if kind is Step:
                hint += "\nwhat the step calls takes its arguments from args"
        about = f"{subject}: " if subject else ""
        name = ".".join(map(str, where))
        self.report.tell((*path, *where), f"{about}there is no key {name!r}", hint)

    def _tell_error(self, error: Any, path: KeyPath, subject: str) -> None:
        """A problem out of pydantic's words."""
        where, about = error["loc"], f"{subject}: " if subject else ""
        name = ".".join(map(str, where))
        if error["type"] == "missing":
            self.report.tell((*path, *where), f"{about}{name} is missing")
        elif error["type"] == "octo":
            hint = NO_TEMPLATE if is_template(error["input"]) else error["ctx"]["hint"]
            self.report.tell((*path, *where), f"{about}{name} {error['msg']}", hint)
        else:
            hint = "begin each step with `- `" if where == ("steps",) else ""
            self.report.tell((*path, *where), f"{about}{name} {_plain_words(error)}", hint)


NO_TEMPLATE = "templates are for args, command, foreach, when and success of a step"
_CALLED: dict[type[_Part], str] = {
    Recipe: "the recipe itself",
    Metadata: "metadata",
    Input: "an input",
    Defaults: "defaults",
    Step: "a step",
    Success: "success of a step",
}
"""What holds keys, as messages call it."""


def _holder(kind: type[_Part], where: KeyPath) -> type[_Part]:
    """What an unknown key stands in: the part, or what is in that."""
    return Success if str(where[0]) in kind.model_fields else kind


def _keys(kind: type[_Part]) -> list[str]:
    """The keys that there are."""
    return [field.alias or key for key, field in kind.model_fields.items()]


def _plain_words(error: Any) -> str:
    expected = "a list" if error["type"] == "list_type" else "a mapping"
    return f"must be {expected}, and is {kind_of(error['input'])}"


# --- for editors ----------------------------------------------------------------------------------


def json_schema() -> dict[str, Any]:
    """The format as JSON Schema (draft 2020-12), with a description of every key."""
    schema = Recipe.model_json_schema(by_alias=True)
    _tidy(schema)
    shorthand = ["string", "number", "boolean", "array", "null"]
    inputs = schema["properties"]["inputs"]
    inputs["additionalProperties"] = {"anyOf": [{"$ref": "#/$defs/Input"}, {"type": shorthand}]}
    schema["$defs"]["Step"]["allOf"] = [
        {
            "if": {"properties": {"type": {"const": kind}}, "required": ["type"]},
            "then": {"required": list(needed)},
        }
        for kind, (needed, _) in KEYS_OF_TYPE.items()
        if needed and kind != "python"
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA_ID,
        "title": "Recipe of the Octo Step Engine",
        **schema,
    }


def _tidy(schema: Any) -> None:
    """Take away what pydantic adds and no editor needs: titles, null, empty defaults."""
    if isinstance(schema, list):
        for each in schema:
            _tidy(each)
    if not isinstance(schema, dict):
        return
    if isinstance(schema.get("title"), str):
        del schema["title"]
    if schema.get("default", 0) is None or schema.get("default") in ({}, []):
        del schema["default"]
    options = schema.get("anyOf")
    if options and {"type": "null"} in options and len(options) == 2:
        schema.pop("anyOf")
        schema |= next(each for each in options if each != {"type": "null"})
    for each in schema.values():
        _tidy(each)
