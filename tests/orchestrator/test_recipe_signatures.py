"""What source says about the names in it, compared with what Python says when it runs it."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.recipe_signatures import Outline, Target, target_of

UNKNOWN = Target()


def target(source: str, name: str = "f") -> Target | None:
    return Outline(source.encode(), "tasks.py").target(name)


@st.composite
def parameters(draw: st.DrawFn) -> str:
    """The parameters of any `def`."""
    names = iter("abcdefghij")
    only, either, by_name = (draw(st.integers(0, 2)) for _ in range(3))
    defaults = draw(st.integers(0, only + either))
    places = [next(names) for _ in range(only + either)]
    shown = [
        f"{name}=1" if place >= len(places) - defaults else name
        for place, name in enumerate(places)
    ]
    if only:
        shown.insert(only, "/")
    rest = draw(st.booleans())
    if rest or by_name:
        shown.append("*rest" if rest else "*")
    shown += [f"{next(names)}{draw(st.sampled_from(['', '=2']))}" for _ in range(by_name)]
    return ", ".join([*shown, *(["**more"] if draw(st.booleans()) else [])])


@given(parameters(), st.sampled_from(["def f({}): ...", "async def f({}): ..."]))
def test_a_signature_is_the_one_that_python_sees(given: str, form: str) -> None:
    module: dict[str, Any] = {}
    exec(form.format(given), module)
    found = target(form.format(given))
    assert found is not None
    assert str(found.signature) == str(inspect.signature(module["f"]))


@given(parameters())
def test_a_class_is_called_as_its_init_says(given: str) -> None:
    source = f"class f:\n def __init__({', '.join(filter(None, ['self', given]))}): ..."
    module: dict[str, Any] = {}
    try:
        exec(source, module)
    except SyntaxError:  # `self, a, /` is fine, `self, a=1, b` is not made
        return
    found = target(source)
    assert found is not None
    assert str(found.signature) == str(inspect.signature(module["f"]))


@pytest.mark.parametrize(
    "source",
    [
        "from m import f",
        "import m as f",
        "import f.g",
        "f = make()",
        "f: int = make()",
        "if x:\n  def f(a): ...\nelse:\n  f = g",
        "try:\n  from m import f\nexcept ImportError:\n  f = make()",
        "with open('x') as f: ...",
        "for f in []: ...",
        "match x:\n  case 1:\n    f = make()",
        "(f, g) = make()",
        "f, g = 1, 2",
        "x = (f := 1)",
        "if x:\n  def f(a): ...\nelse:\n  def f(a, b): ...",
        "try:\n  from m import f\nexcept ImportError:\n  def f(a): ...",
        "def f(a): ...\nif x:\n  f = 1",
        "class f:\n  if x:\n    def __init__(self): ...\n  else:\n    def __init__(self, a): ...",
        "f = g = lambda: 1",
        "if (f := make()): ...",
        "@decorated\ndef f(a): ...",
        "class f(Base): ...",
        "class f(metaclass=M): ...",
        "@dataclass\nclass f: ...",
        "class f:\n  def __new__(cls, a): ...",
        "class f:\n  run = make()",
        # what may make names
        "from m import *",
        "def f(a): ...\ntry:\n  from m import *\nexcept ImportError: ...",
        "def __getattr__(name): ...",
        "globals()['f'] = 1",
        "exec('f = 1')",
        "import sys\nsetattr(sys.modules[__name__], 'f', 1)",
        "def make():\n  global f\n  f = vars()",
    ],
)
def test_of_what_is_not_certain_nothing_is_said(source: str) -> None:
    assert target(source) == UNKNOWN


@pytest.mark.parametrize(
    "source",
    [
        "",
        "def g(f): ...",
        "class A:\n  def f(self): ...",
        "import a.f",
        "g(lambda f: f)",
        "f.x = 1",
    ],
)
def test_what_is_not_there_is_certain(source: str) -> None:
    assert target(source) is None


@pytest.mark.parametrize("value", ["3", "'text'", "f'{x}'", "[1]", "{'a': 1}", "{1}", "(1,)"])
def test_a_literal_cant_be_called(value: str) -> None:
    assert target(f"f = {value}") == Target(is_callable=False)


def test_what_is_bound_last_counts() -> None:
    assert target("f = 1\ndef f(a): ...") != Target(is_callable=False)
    assert target("def f(a): ...\nf = 1") == Target(is_callable=False)


def test_what_is_bound_in_one_block_alone_is_known() -> None:
    found = target("if x:\n  def f(a): ...")
    assert found is not None
    assert str(found.signature) == "(a)"
    found = target("try:\n  from m import f\nexcept ImportError: ...\ndef f(b): ...")
    assert found is not None
    assert str(found.signature) == "(b)"


def test_decorators_of_the_project_and_of_caches_change_no_signature() -> None:
    for decorator in ("register_scriptlet", "register_scriptlet(name='x')", "functools.cache"):
        found = target(f"@{decorator}\ndef f(a): ...")
        assert found is not None
        assert str(found.signature) == "(a)"


def test_a_class_with_run_is_a_scriptlet_and_its_literal_parameters_are_known() -> None:
    source = """\
class f(BaseScriptlet):
    parameters = {
        "source": str, "limit": Parameter(int, default=3), "other": Parameter(int, 3),
        "wanted": Parameter(int, choices=(1, 2)), "any": Parameter(**details),
    }
    def run(self, context, params): ...
"""
    assert target(source) == Target(
        is_scriptlet=True,
        parameters={"source": True, "limit": False, "other": False, "wanted": True, "any": False},
        values={
            "source": {"type": str},
            "limit": {"type": int, "default": 3},
            "other": {"type": int, "default": 3},
            "wanted": {"type": int, "choices": (1, 2)},
            "any": {},
        },
    )
    unknown = source.replace("parameters =", "parameters = OTHERS |")
    assert target(unknown) == Target(is_scriptlet=True)


def test_objects_say_the_same_of_themselves() -> None:
    class Task:
        def run(self) -> None: ...

    assert target_of(Task) == Target(is_scriptlet=True)
    assert target_of(3) == Target(is_callable=False)
    assert (
        str(target_of(test_what_is_not_there_is_certain).signature) == "(source: 'str') -> 'None'"
    )
    assert target_of(dict) == UNKNOWN  # Python can't tell what it takes


def test_what_is_no_python_is_refused() -> None:
    with pytest.raises(SyntaxError):
        Outline(b"def f(:", "tasks.py")


def test_the_outline_names_what_is_certain() -> None:
    outline = Outline(b"import os.path\nfrom m import *\ndef f(): ...\nA = 1", "tasks.py")
    assert outline.names() == ["os", "f", "A"]


MODULES = (
    "argparse ast asyncio.tasks bisect calendar collections concurrent.futures configparser"
    " contextlib copy csv dataclasses datetime decimal difflib email.message enum fractions"
    " ftplib functools glob gzip hashlib heapq html http.client inspect ipaddress json"
    " json.decoder keyword logging logging.handlers mailbox multiprocessing.pool operator os"
    " pathlib pickle platform posixpath pprint queue random re sched shelve shutil smtplib"
    " socket sqlite3 statistics string subprocess tarfile tempfile textwrap threading timeit"
    " traceback types typing unittest.mock urllib.parse urllib.request uuid wave weakref"
    " xml.dom.minidom xml.etree.ElementTree zipfile"
)


@pytest.mark.parametrize("module", MODULES.split())
def test_what_is_said_of_real_modules_is_so(module: str) -> None:
    loaded = importlib.import_module(module)
    assert loaded.__file__ is not None
    outline = Outline(Path(loaded.__file__).read_bytes(), loaded.__file__)
    for name, value in vars(loaded).items():
        found = outline.target(name)
        if name.startswith("__") or not callable(value):
            continue
        assert found is not None, name
        assert found.is_callable, name
        assert not found.is_scriptlet or hasattr(value, "run"), name
        if found.signature is not None and (real := target_of(value).signature) is not None:
            assert shape(found.signature) == shape(real), name


def shape(signature: inspect.Signature) -> list[tuple[Any, ...]]:
    parameters = signature.parameters.values()
    return [(each.name, each.kind, each.default is inspect.Parameter.empty) for each in parameters]
