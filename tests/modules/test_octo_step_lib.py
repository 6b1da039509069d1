"""Loading of step libraries: what is found, what is isolated, and how mistakes are reported."""

from __future__ import annotations

import hashlib
import importlib
import json as standard_json
import os
import random as standard_random
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from octo_errors import LibraryError
from octo_library_pin import library_hashes
from octo_step_declaration import HOOKS
from octo_step_lib import (
    Problem,
    StepLibrary,
    find_libraries,
    library_search_path,
    load_library,
    load_node,
    make_node,
    resolve_library,
)
from octo_step_problem import locate
from tests.support import MakeLibrary

Load = Callable[..., StepLibrary]


@pytest.fixture
def load(make_library: MakeLibrary) -> Load:
    """Writes files as a library and loads it."""

    def write_and_load(**files: str) -> StepLibrary:
        return load_library(make_library(files))

    return write_and_load


def only_problem(library: StepLibrary) -> Problem:
    assert len(library.problems) == 1, "\n".join(map(str, library.problems))
    return library.problems[0]


def placed(problem: Problem) -> tuple[str, int | None, str]:
    return Path(problem.file).name, problem.line, problem.severity


def made(library: StepLibrary, name: str) -> Any:
    node_class = library.nodes[name].node_class
    assert node_class is not None
    return make_node(node_class, name, verbose=False)


# --- what a node is -------------------------------------------------------------------------------


def test_a_class_called_like_a_step_node_is_one_with_all_defaults(load: Load) -> None:
    library = load(a="class step_node_a:\n    pass")
    node = library.nodes["step_node_a"]
    assert library.problems == [] and library.broken == frozenset()
    assert (node.name, node.module, node.description) == ("step_node_a", "step_node_a", "")
    assert node.file == str(library.path / "step_node_a.py")
    assert node.hooks == frozenset()
    assert node.graph_dict == node.arrow_dict == node.params_init == node.results_init == {}


def test_name_and_description_come_from_the_class_or_from_its_name_and_docstring(
    load: Load,
) -> None:
    library = load(
        a='class step_node_a:\n    """\n    First line.\n\n    More.\n    """',
        b="class step_node_b:\n    name = 'bee'\n    description = 'Said.'\n    'not this'",
        c="class step_node_c:\n    name = property(lambda self: 'no')",
    )
    described = {node.name: node.description for node in library.nodes.values()}
    assert described == {"step_node_a": "First line.", "bee": "Said.", "step_node_c": ""}


def test_nodes_come_in_the_order_of_files_and_of_classes_in_them(load: Load) -> None:
    library = load(b="class step_node_b: ...", a="class step_node_z: ...\nclass step_node_y: ...")
    assert list(library.nodes) == ["step_node_z", "step_node_y", "step_node_b"]


def test_only_classes_defined_in_the_module_are_nodes_unless_a_list_names_them(
    load: Load,
) -> None:
    library = load(
        a="class step_node_a: ...\nclass helper: ...",
        b="from step_node_a import step_node_a\nclass step_node_b(step_node_a): ...",
        c="""
            from base import Third
            class step_node_unlisted: ...
            class Second: ...
            step_node_class_list = [Third, "Second", Second]
        """,
        **{"base.py": "class Third:\n    pass"},
    )
    assert list(library.nodes) == ["step_node_a", "step_node_b", "Third", "Second"]
    assert library.problems == []
    assert library.nodes["Third"].module == "step_node_c"
    assert Path(library.nodes["Third"].file).name == "base.py"


def test_hooks_are_those_that_the_author_wrote_or_inherits_from_a_class_of_his(
    load: Load,
) -> None:
    library = load(
        a="""
            from stepnode_baseclass import stepnode_baseclass
            class Own(stepnode_baseclass):
                def step_exit(self): return 0
            class step_node_a(Own):
                @staticmethod
                def step_entry(): return 0
                @classmethod
                def step_execute(cls, times=1, *, loud=False): return 0
        """
    )
    assert library.problems == []
    assert library.nodes["step_node_a"].hooks == {"step_entry", "step_execute", "step_exit"}


def test_a_hook_can_be_a_method_with_some_arguments_given_already(load: Load) -> None:
    library = load(
        a="""
            from functools import partialmethod
            class step_node_a:
                def _work(self, times, *, loud): return 0
                @staticmethod
                def _leave(how): return 0
                step_execute = partialmethod(_work, 3, loud=True)
                step_exit = partialmethod(_leave, "fast")
        """
    )
    assert library.problems == []
    assert library.nodes["step_node_a"].hooks == {"step_execute", "step_exit"}


def test_a_name_that_is_made_by_each_object_is_none_of_the_class(load: Load) -> None:
    library = load(
        a="""
            class step_node_a:
                @property
                def name(self): return "own"
        """,
        b="class step_node_b:\n    name = None",
    )
    assert library.problems == []
    assert list(library.nodes) == ["step_node_a", "step_node_b"]


def test_every_hook_can_be_defined(load: Load) -> None:
    body = "".join(f"    def {hook}(self): return 0\n" for hook in HOOKS)
    assert load(a="class step_node_a:\n" + body).nodes["step_node_a"].hooks == set(HOOKS)


def test_the_users_own_nodes_load_unmodified(tmp_path: Path) -> None:
    # word for word from the specification, three levels below a root as their sys.path lines say
    library = tmp_path / "step_library" / "seed"
    library.mkdir(parents=True)
    for file in (Path(__file__).parent / "seed_nodes").iterdir():
        shutil.copy(file, library / file.name.removesuffix(".txt"))
    loaded = load_library(library)
    assert loaded.problems == []
    machine = loaded.nodes["step_node_statemachine"]
    assert machine.graph_dict["dg_node_attr_dict"] == {"label": "SM", "shape": "box"}
    assert list(machine.arrow_dict) == ["next_step"]
    assert machine.params_init["step_node_statemachine"]["max_retries"] == 3
    assert loaded.nodes["step_node_custom"].description == "Custom step with parameter management"
    assert loaded.nodes["step_node_dataprocessor"].hooks == set(HOOKS[:2]) | {"step_exit"}


# --- modules of their own -------------------------------------------------------------------------

HELPED = """
    import helper
    from helper import WHO as said
    from .helper import WHO as again
    import parts.inner, parts.inner as renamed
    from parts import inner

    class step_node_a:
        def step_execute(self):
            import helper as late
            from parts import other
            return [helper.WHO, said, again, parts.inner.WHO, renamed.WHO, inner.WHO,
                    late.WHO, other.WHO]
"""


def helped_by(who: str) -> dict[str, str]:
    named = f"WHO = {who!r}"
    return {
        "a": HELPED,
        "helper.py": named,
        "parts/inner.py": "from ..helper import WHO",
        "parts/other.py": named,
    }


def test_two_libraries_with_equal_file_names_keep_to_themselves(make_library: MakeLibrary) -> None:
    one = load_library(make_library(helped_by("one"), "one"))
    two = load_library(make_library(helped_by("two"), "two"))
    assert one.problems == two.problems == []
    assert made(two, "step_node_a").step_execute() == ["two"] * 8
    assert made(one, "step_node_a").step_execute() == ["one"] * 8
    assert "helper" not in sys.modules and "step_node_a" not in sys.modules


def test_a_file_called_like_a_module_of_python_is_seen_by_its_library_only(load: Load) -> None:
    library = load(
        a="import json, random, octo_errors\nclass step_node_a:\n    got = json.WHO, random.WHO",
        b="import math\nclass step_node_b:\n    got = math.pi",
        **{
            "json.py": "WHO = 'own json'",
            "random.py": "WHO = 'own random'",
            "octo_errors.py": "",
        },
    )
    assert library.problems == []
    assert made(library, "step_node_a").got == ("own json", "own random")
    import json
    import random

    assert json is standard_json and random is standard_random
    assert sys.modules["octo_errors"].__file__ != str(library.path / "octo_errors.py")


def test_a_relative_import_is_relative_to_its_own_folder(load: Load) -> None:
    library = load(
        a="from parts.inner import WHO\nclass step_node_a:\n    got = WHO",
        **{
            "helper.py": "WHO = 'outer'",
            "parts/helper.py": "WHO = 'inner'",
            "parts/inner.py": "from .helper import WHO",
        },
    )
    assert made(library, "step_node_a").got == "inner"


def test_hooks_find_their_helpers_in_any_thread(load: Load) -> None:
    library = load(**helped_by("mine"))
    node, got = made(library, "step_node_a"), []
    thread = threading.Thread(target=lambda: got.append(node.step_execute()))
    thread.start()
    thread.join()
    assert got == [["mine"] * 8]


def test_what_came_or_went_since_the_load_is_found_or_not_as_by_python(
    make_library: MakeLibrary,
) -> None:
    path = make_library(
        {
            "a": "class step_node_a:\n"
            "    def step_entry(self):\n        from .late import X\n        return X\n"
            "    def step_exit(self):\n        import gone",
            "gone.py": "",
            "both.py": "X = 'file'",
            "both/__init__.py": "X = 'folder'",
            "b": "from both import X\nclass step_node_b:\n    got = X",
        }
    )
    library = load_library(path)
    assert library.nodes["step_node_b"].node_class.got == "folder"  # type: ignore[union-attr]
    node = made(library, "step_node_a")
    (path / "late.py").write_text("X = 7")
    (path / "gone.py").unlink()
    importlib.invalidate_caches()  # else Python may overlook a file made in this very instant
    assert node.step_entry() == 7
    with pytest.raises(ModuleNotFoundError):
        node.step_exit()


def test_a_library_may_have_an_init_file(load: Load) -> None:
    library = load(
        a="from . import SHARED\nclass step_node_a:\n    got = SHARED",
        **{"__init__.py": "from .helper import SHARED", "helper.py": "SHARED = 5"},
    )
    assert library.problems == [] and made(library, "step_node_a").got == 5


def test_a_library_is_loaded_as_it_is_now(make_library: MakeLibrary) -> None:
    path = make_library({"a": "from helper import X\nclass step_node_a:\n    got = X"})
    (path / "helper.py").write_text("X = 1")
    before = load_library(path)
    (path / "helper.py").write_text("from more import X")
    (path / "more.py").write_text("X = 22")
    assert made(load_library(path), "step_node_a").got == 22
    assert made(before, "step_node_a").got == 1


def test_objects_of_a_library_can_be_pickled_in_its_process(load: Load) -> None:
    import pickle

    node = made(load(a="class step_node_a: ..."), "step_node_a")
    assert type(pickle.loads(pickle.dumps(node))) is type(node)


def test_loading_leaves_streams_directory_and_arguments_as_they_were(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (sys.stdout, sys.stdin, Path.cwd(), list(sys.argv))
    library = load(a="import os\nos.chdir('/')\nprint('x')\nclass step_node_a: ...")
    assert (sys.stdout, sys.stdin, Path.cwd(), list(sys.argv)) == before
    assert capsys.readouterr().out == "" and "step_node_a" in library.nodes


def test_a_log_handler_made_at_import_writes_to_the_output_of_later(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    library = load(
        a="""
            import sys
            kept = sys.stdout
            class step_node_a:
                def step_execute(self):
                    kept.write("from the ")
                    kept.writelines(["hook", "\\n"])
                    kept.flush()
        """
    )
    assert library.problems == []
    made(library, "step_node_a").step_execute()
    assert capsys.readouterr().out == "from the hook\n"


def test_what_others_print_during_a_load_is_shown(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    library = load(
        a="""
            import threading, sys
            thread = threading.Thread(target=sys.stdout.write, args=("from elsewhere",))
            thread.start()
            thread.join()
            class step_node_a: ...
        """
    )
    assert library.problems == []
    assert capsys.readouterr().out == "from elsewhere"


# --- modules that can't be imported ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\n\nx = (", 3, "SyntaxError: '(' was never closed"),
        ("def f():\nreturn", 2, "IndentationError: expected an indented block"),
        ("\nimport no_such_module_here", 2, "No module named 'no_such_module_here'"),
        ("\n\nraise ValueError('why\\nmore')", 3, "ValueError: why"),
        ("def f(): return 1 / 0\n\nf()", 1, "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)", 2, "calls sys.exit(3)"),
        ("class Odd(BaseException): ...\nraise Odd", 2, "Odd"),
        ("class Mute(Exception):\n  def __str__(self): 1/0\nraise Mute()", 3, "Mute"),
        ("import ast\nast.literal_eval('(')", 2, "SyntaxError: '(' was never closed"),
        ("from . import nothing", 1, "cannot import name 'nothing'"),
        ("from .. import above", 1, "relative import"),
        (
            "import step_node_b\nfrom step_node_b import no",
            2,
            "import name 'no' from 'step_node_b'",
        ),
        ("x = input('Name? ')", 1, "EOFError"),
        ("def f(): f()\nf()", 1, "RecursionError"),
        ("x = '\0'", 1, "null bytes"),
    ],
)
def test_a_module_that_fails_is_reported_at_its_line_and_the_others_load(
    load: Load, text: str, line: int, message: str
) -> None:
    library = load(a=text, b="class step_node_b: ...")
    problem = next(p for p in library.problems if p.severity == "error")
    assert placed(problem) == ("step_node_a.py", line, "error")
    assert message in problem.message and "octo_step_library_" not in problem.message
    assert list(library.nodes) == ["step_node_b"] and library.broken == {"step_node_a"}


def test_text_that_is_no_utf_8_is_reported(make_library: MakeLibrary) -> None:
    path = make_library({"b": "class step_node_b: ..."})
    (path / "step_node_a.py").write_bytes(b"x = '\xff\xfe'\n")
    library = load_library(path)
    assert placed(only_problem(library))[0] == "step_node_a.py"
    assert "utf-8" in only_problem(library).message.lower()


def test_a_keyboard_interrupt_ends_the_load(make_library: MakeLibrary) -> None:
    before = sys.stdout
    with pytest.raises(KeyboardInterrupt):
        load_library(make_library({"a": "raise KeyboardInterrupt"}))
    assert sys.stdout is before


def test_a_failing_helper_is_one_problem_of_its_own_line_that_names_who_needs_it(
    load: Load,
) -> None:
    node = "import helper\nclass step_node_x: ..."
    library = load(a=node, b=node, **{"helper.py": "import os\nimport pandass_\n"})
    problem = only_problem(library)
    assert placed(problem) == ("helper.py", 2, "error")
    assert "(imported by step_node_a.py, step_node_b.py)" in problem.message
    assert library.broken == {"step_node_a", "step_node_b"}


def test_of_many_modules_that_need_a_failing_file_a_few_are_named(load: Load) -> None:
    nodes = dict.fromkeys("abcdefgh", "import helper\nclass step_node_x: ...")
    problem = only_problem(load(**nodes, **{"helper.py": "1 / 0"}))
    assert problem.message.endswith("step_node_b.py, step_node_c.py, 5 more)")


def test_a_missing_module_is_answered_with_the_nearest_names(load: Load) -> None:
    library = load(a="import helpr", b="import jsno", c="import qqqq_zzzz", **{"helper.py": ""})
    near, standard, far = (problem.hint for problem in library.problems)
    assert "did you mean 'helper'" in near
    assert "did you mean 'json'" in standard
    assert far.startswith("install it for ") and sys.executable in far


def test_a_module_that_prints_is_a_warning_at_the_line_that_prints(
    load: Load, capsys: pytest.CaptureFixture[str]
) -> None:
    library = load(
        a="import helper\nclass step_node_a: ...",
        **{"helper.py": "def show(text):\n    print(text)\n\nshow('hello')\nshow('again')"},
    )
    problem = only_problem(library)
    assert placed(problem) == ("helper.py", 2, "warning")
    assert r"'hello\nagain'" in problem.message
    assert capsys.readouterr().out == ""
    assert list(library.nodes) == ["step_node_a"]


# --- classes with mistakes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "message", "hint"),
    [
        ("", 1, "has no step node class", "call a class step_node_..."),
        ("class Foo: ...", 1, "(there is: Foo)", "step_node_class_list"),
        ("x = 0\nstep_node_class_list = []", 2, "must be a list of classes", ""),
        ("x = 0\nstep_node_class_list = 'A'", 2, "and is 'A'", ""),
        ("class Foo: ...\nstep_node_class_list = [\n  'Fooo']", 3, "has 'Fooo'", "'Foo'"),
        ("class Foo: ...\nstep_node_class_list = [Foo,\n  5]", 3, "has 5", ""),
        ("class step_node_a:\n\n  name = 5", 3, "name must be a text, and is 5", ""),
        ("class step_node_a:\n  step_node_graph_dict = []", 2, "must be a dict, and is []", ""),
        ("class step_node_a:\n  step_arrow_graph_dict = None", 2, "must be a dict", ""),
        (
            "class step_node_a:\n  step_node_graph_dict = {\n    'step_node_b': {}}",
            3,
            "has the key 'step_node_b', but the node is called 'step_node_a'",
            "write step_node_graph_dict = {'step_node_a': {...}}",
        ),
        (
            "class step_node_a:\n  step_node_graph_dict = {\n    'step_node_a': 5}",
            3,
            "['step_node_a'] must be a dict",
            "",
        ),
        ("class step_node_a:\n\n  def step_exit(self, x): ...", 3, "argument: 'x'", "(self):"),
        ("class step_node_a:\n\n  def step_exit(): ...", 3, "too many", "def step_exit(self):"),
        ("class step_node_a:\n  @staticmethod\n  def step_exit(self): ...", 3, "'self'", ""),
        ("class step_node_a:\n  def step_exit(self, *, x): ...", 2, "'x'", ""),
        ("class step_node_a:\n  step_entry = 5", 2, "must be a method, and is 5", ""),
        ("class step_node_a:\n  step_entry = property(len)", 2, "must be a method", ""),
        (
            "from functools import partialmethod\nclass step_node_a:\n"
            "  def do(self, x, y): ...\n  step_execute = partialmethod(do, 1)",
            4,
            "'y'",
            "",
        ),
        ("class step_node_a:\n  async def step_exit(self): ...", 2, "is async", ""),
        ("class step_node_a:\n  def step_advance(self): yield 'x'", 2, "yield", ""),
        ("class step_node_a:\n  def __init__(self): ...", 2, "__init__ can't be called", "name"),
        ("class step_node_a:\n  def __init__(self, a, b, c): ...", 2, "'c'", "verbose_flag"),
        (
            "class step_node_a:\n  step_node_params_dict_init = {'g': {'k': {1}}}",
            2,
            "step_node_params_dict_init['g']['k']: a set is not a JSON value",
            "",
        ),
        (
            "class step_node_a:\n  step_node_results_dict_init = {\n  'g': {\n  'k': [2**65]}}",
            4,
            "['g']['k'][0]: an integer beyond 64 bits",
            "",
        ),
        (
            "class step_node_a:\n  step_node_params_dict_init = {\n  'k': 5}",
            3,
            "must be {group: {key: value}}, and has 'k': 5",
            "",
        ),
        (
            "class step_node_a:\n  step_node_params_dict_init = {'join_arrivals': {}}",
            2,
            "sets the group 'join_arrivals', the engine's own",
            "",
        ),
    ],
)
def test_a_mistake_in_a_class_is_an_error_with_its_line(
    load: Load, text: str, line: int, message: str, hint: str
) -> None:
    problem = only_problem(load(a=text))
    assert placed(problem) == ("step_node_a.py", line, "error")
    assert message in problem.message and hint in problem.hint


@pytest.mark.parametrize(
    ("member", "meant"),
    [
        ("def step_excute(self): ...", "step_execute"),
        ("def Step_Exit(self): ...", "step_exit"),
        ("def stepAdvance(self): ...", "step_advance"),
        ("def setp_entry(self): ...", "step_entry"),
        ("def make_safe_step(self): ...\n    def step_makesafe(self): ...", "step_make_safe"),
        ("step_arrow_grph_dict = {}", "step_arrow_graph_dict"),
        ("step_node_param_dict_init = {}", "step_node_params_dict_init"),
    ],
)
def test_a_nearly_right_name_is_a_warning_that_says_the_right_one(
    load: Load, member: str, meant: str
) -> None:
    problem = only_problem(load(a=f"class step_node_a:\n    {member}"))
    assert problem.severity == "warning" and problem.hint == f"did you mean {meant!r}?"


def test_helpers_with_names_of_their_own_are_left_alone(load: Load) -> None:
    library = load(
        a="""
            class step_node_a:
                def step_execute(self): return 0
                def step_executes(self): return 0
                def step_entry_all(self): return 0
                def _step_exit(self): return 0
                def run(self): return 0
                steps = {}
        """
    )
    assert library.problems == []


def test_a_node_declared_twice_is_an_error_that_names_both_places(load: Load) -> None:
    library = load(
        a="\nclass step_node_a:\n    name = 'same'", b="\n\nclass step_node_b:\n    name = 'same'"
    )
    problem = only_problem(library)
    assert placed(problem) == ("step_node_b.py", 3, "error")
    assert "'same'" in problem.message and "step_node_a.py:2" in problem.message
    assert library.nodes["same"].module == "step_node_a"


def test_a_class_that_inherits_its_name_is_told_so(load: Load) -> None:
    library = load(
        a="class step_node_a:\n    name = 'a'\nclass step_node_b(step_node_a):\n    pass"
    )
    assert "inherits its name" in only_problem(library).hint


def test_two_initial_values_for_one_key_are_a_warning_that_says_which_wins(load: Load) -> None:
    library = load(
        a="class step_node_a:\n    step_node_params_dict_init = {'g': {'same': 1, 'k': 1}}",
        b="class step_node_b:\n    step_node_results_dict_init = {'g': {'same': 1,\n    'k': 2}}",
    )
    problem = only_problem(library)
    assert placed(problem) == ("step_node_b.py", 3, "warning")
    assert "value 2 of g k, but 1 in" in problem.message
    assert "step_node_a.py:2" in problem.message


def test_a_value_is_shown_in_short_even_if_it_can_not_show_itself(load: Load) -> None:
    library = load(
        a="class step_node_a:\n    step_entry = 'x' * 9999\n    step_arrow_graph_dict = [5] * 9999",
        b="""
            class Mute:
                def __repr__(self): raise ValueError
            class step_node_b:
                step_node_graph_dict = Mute()
        """,
    )
    assert len(library.problems) == 3
    assert all(len(problem.message) < 200 for problem in library.problems)
    assert "and is <Mute instance at" in library.problems[2].message


def test_a_sound_library_is_never_parsed_for_lines(
    load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr("ast.parse")
    assert load(a="class step_node_a:\n    step_node_graph_dict = {}").problems == []


def test_all_problems_of_a_library_are_reported_at_once(load: Load) -> None:
    library = load(
        a="import nowhere_to_be_found",
        b="x = (",
        c="class step_node_c:\n    def step_entry(self, x): ...\n    step_node_graph_dict = 5",
        d="print('x')\nclass step_node_c:\n    step_excute = lambda self: 0",
    )
    files = sorted(Path(problem.file).name for problem in library.problems)
    assert files == [f"step_node_{x}.py" for x in "abccddd"]


# --- libraries that are none ----------------------------------------------------------------------


def test_a_directory_without_step_nodes_is_a_problem_that_names_libraries_below_it(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    problem = only_problem(load_library(tmp_path / "empty"))
    assert problem.message == "has no step node file, step_node_*.py"
    library = make_library({"a": "class step_node_a: ..."})
    assert str(library) in only_problem(load_library(library.parent)).hint


def test_a_path_that_is_no_directory_is_a_problem(make_library: MakeLibrary) -> None:
    library = make_library({"a": "class step_node_a: ..."}, "hello")
    assert "did you mean 'hello'?" in only_problem(load_library(library.parent / "helo")).hint
    file = only_problem(load_library(library / "step_node_a.py"))
    assert "is a file" in file.message and str(library) in file.hint


def test_a_directory_that_can_not_be_read_is_a_problem(
    make_library: MakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library({"a": "class step_node_a: ..."})

    def refuse(path: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    assert "can't be read: Permission denied" in only_problem(load_library(library)).message


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads anything")
def test_a_file_that_can_not_be_read_is_a_problem(make_library: MakeLibrary) -> None:
    library = make_library({"a": "class step_node_a: ..."})
    (library / "step_node_a.py").chmod(0)
    assert "Permission denied" in only_problem(load_library(library)).message


def test_what_is_called_like_a_node_file_and_is_none_is_a_problem(
    make_library: MakeLibrary,
) -> None:
    library = make_library({"a": "class step_node_a: ..."})
    (library / "step_node_folder.py").mkdir()
    (library / "step_node_lost.py").symlink_to(library / "nowhere")
    (library / "step_node_a.b.py").write_text("")
    loaded = load_library(library)
    assert [placed(problem)[0] for problem in loaded.problems] == [
        "step_node_a.b.py",
        "step_node_folder.py",
        "step_node_lost.py",
    ]
    assert list(loaded.nodes) == ["step_node_a"]


def test_a_problem_reads_like_those_of_a_compiler() -> None:
    assert str(Problem("a.py", 3, "wrong", "do this")) == "a.py:3: wrong\n  do this"
    assert str(Problem("a.py", None, "odd", severity="warning")) == "a.py: warning: odd"


# --- one node -------------------------------------------------------------------------------------


def test_one_node_is_loaded_without_the_other_modules(make_library: MakeLibrary) -> None:
    path = make_library(
        {"a": "from helper import X\nclass step_node_a:\n    got = X", "b": "raise ValueError"}
    )
    (path / "helper.py").write_text("X = 7")
    node_class = load_node(path, "step_node_a", "step_node_a")
    assert node_class.got == 7  # type: ignore[attr-defined]
    assert load_node(path, "step_node_a", "step_node_a") is node_class


def test_a_link_leads_to_the_library_it_led_to_until_that_is_loaded_anew(
    make_library: MakeLibrary, tmp_path: Path
) -> None:
    old, new = (make_library({"a": f"class step_node_a:\n    at = {x!r}"}, x) for x in "xy")
    link = tmp_path / "link"
    link.symlink_to(old)
    load_library(link)
    link.unlink()
    link.symlink_to(new)
    assert load_node(link, "step_node_a", "step_node_a").at == "x"  # type: ignore[attr-defined]
    load_library(link)
    assert load_node(link, "step_node_a", "step_node_a").at == "y"  # type: ignore[attr-defined]
    assert load_node(old, "step_node_a", "step_node_a").at == "x"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("module", "name", "told"),
    [
        ("step_node_a", "step_node_aa", "did you mean 'step_node_a'?"),
        ("step_node_b", "step_node_b", "step_node_b.py:2: can't be imported: ValueError: why"),
        ("step_node_c", "step_node_c", "there is no such file"),
    ],
)
def test_a_node_that_can_not_be_loaded_is_a_library_error(
    make_library: MakeLibrary, module: str, name: str, told: str
) -> None:
    path = make_library({"a": "class step_node_a: ...", "b": "\nraise ValueError('why')"})
    with pytest.raises(LibraryError) as caught:
        load_node(path, module, name)
    assert told in str(caught.value)


def test_a_node_is_made_with_its_name_and_the_verbose_flag(load: Load) -> None:
    init = "    def __init__(self, name, verbose_flag=False):\n"
    library = load(
        a="class step_node_a:\n" + init + "        self.got = (name, verbose_flag)",
        b="class step_node_b: ...",
        c="class step_node_c:\n    __slots__ = ()",
    )
    a, b, c = (library.nodes[f"step_node_{x}"].node_class for x in "abc")
    assert a and b and c
    assert vars(make_node(a, "step_node_a", True)) == {"got": ("step_node_a", True)}
    assert vars(make_node(b, "step_node_b", True)) == {"name": "step_node_b", "verbose_flag": True}
    assert isinstance(make_node(c, "step_node_c", True), c)


@pytest.mark.parametrize("raised", ["ValueError('why')", "SystemExit(3)", "BaseException()"])
def test_an_init_that_raises_is_a_library_error_with_file_and_line(load: Load, raised: str) -> None:
    init = "class step_node_a:\n    def __init__(self, name, verbose_flag=False):\n"
    library = load(a=init + "        help()\ndef help():\n    raise " + raised)
    with pytest.raises(LibraryError) as caught:
        made(library, "step_node_a")
    assert f"{library.path / 'step_node_a.py'}:5: node 'step_node_a' can't be made" in str(
        caught.value
    )


# --- finding --------------------------------------------------------------------------------------


def test_the_search_path_is_what_was_given_the_variable_the_directory_and_what_is_shipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OCTO_STEP_LIBRARY_PATH", os.pathsep.join(["/one", "", "/two"]))
    root = Path(load_library.__code__.co_filename).parent.parent
    assert library_search_path(["given"])[:5] == [
        *map(Path, ("given", "/one", "/two", "step_library")),
        root / "step_library",
    ]


def test_libraries_are_found_by_name_and_the_first_of_a_name_wins(tmp_path: Path) -> None:
    for place in ("one/x", "one/y", "two/x", "two/.hidden", "two/empty", "three"):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "step_node_a.py").touch()
    (tmp_path / "two/empty/step_node_a.py").unlink()
    found = find_libraries(
        [tmp_path / "none", tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    )
    assert found == {
        "x": tmp_path / "one/x",
        "y": tmp_path / "one/y",
        "three": tmp_path / "three",
    }


def test_a_library_is_resolved_by_name_or_by_path(
    make_library: MakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = make_library({"a": ""}, "known")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "known").mkdir()  # an instance that is called like its library
    assert resolve_library("known") == known
    assert resolve_library("./step_library/known") == known
    assert resolve_library(known) == known
    monkeypatch.chdir(known.parent.parent / "known")
    assert resolve_library("../step_library/known/") == known
    assert resolve_library("known", extra=[known.parent]) == known
    monkeypatch.chdir(known.parent)
    assert resolve_library("known") == known
    monkeypatch.chdir(known)
    assert resolve_library(".") == known


def test_an_unknown_library_is_answered_with_the_nearest_names(
    make_library: MakeLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = make_library({"a": ""}, "bringup")
    monkeypatch.chdir(tmp_path)
    for asked in ("bringpu", "step_library/bringpu"):
        with pytest.raises(LibraryError) as caught:
            resolve_library(asked)
        assert "did you mean 'bringup'?" in caught.value.hint
    with pytest.raises(LibraryError, match="is a file, not a directory"):
        resolve_library(library / "step_node_a.py")
    monkeypatch.chdir(library)
    with pytest.raises(LibraryError):
        resolve_library("")


def test_hashes_cover_every_python_file_below_a_library(make_library: MakeLibrary) -> None:
    path = make_library({"a": "a = 1", "a_sub/b.py": "b = 1", "data.csv": "1,2"})
    expected = hashlib.sha256(b"b = 1").hexdigest()
    hashes = library_hashes(path)
    assert list(hashes) == ["a_sub/b.py", "step_node_a.py"]
    assert hashes["a_sub/b.py"] == expected
    assert library_hashes(f"{path}{os.sep}") == hashes
    (path / "step_node_a.py").write_text("a = 2")
    assert library_hashes(path)["step_node_a.py"] != hashes["step_node_a.py"]
    (path / "step_node_lost.py").symlink_to(path / "nowhere")
    with pytest.raises(LibraryError, match="can't be read"):
        library_hashes(path)
    with pytest.raises(LibraryError, match="gone: can't be read: No such file"):
        library_hashes(path / "gone")


def test_hidden_folders_are_not_part_of_a_library(make_library: MakeLibrary) -> None:
    path = make_library({"a": "", ".venv/lib.py": "", ".hidden.py": ""})
    assert list(library_hashes(path)) == [".hidden.py", "step_node_a.py"]


# --- lines ----------------------------------------------------------------------------------------


def test_lines_are_found_by_nested_names_the_deepest_found(tmp_path: Path) -> None:
    file = tmp_path / "x.py"
    file.write_text(
        "KEY = 'k'\n"
        "class A:\n"
        "    d = {\n"
        "        'one': {'deep': 1},\n"
        "        'two': {\n"
        "            'deep': 2}}\n"
        "    e: dict = dict(\n"
        "        one=5)\n"
        "class B:\n"
        "    d = {KEY: {\n"
        "        'deep': 3}}\n"
    )
    assert locate(file, "A") == 2
    assert locate(file, "A", "d", "one", "deep") == 4
    assert locate(file, "A", "d", "two", "deep") == 6
    assert locate(file, "A", "e", "one") == 8
    assert locate(file, "A", "d", "three") == 3
    assert locate(file, "B", "d", "k", "deep") == 11
    assert locate(file, "C") is None
    assert locate(tmp_path / "none.py", "A") is None
    file.write_text("\n\nclass A: ...")
    assert locate(file, "A") == 3
    file.write_text("a: yaml")
    assert locate(file.with_suffix(".yaml"), "A") is None


def test_a_file_that_is_changed_twice_in_a_second_is_read_anew(
    make_library: MakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    text = "class step_node_{}:\n    pass\n"
    path = make_library({"step_node_a.py": text.format("a")})
    assert list(load_library(path).nodes) == ["step_node_a"]
    file = path / "step_node_a.py"
    before = file.stat()
    file.write_text(text.format("b"))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert list(load_library(path).nodes) == ["step_node_b"]


def test_compiled_code_is_kept_of_a_file_that_is_older(
    make_library: MakeLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    path = make_library({"step_node_a.py": "class step_node_a:\n    pass\n"})
    os.utime(path / "step_node_a.py", (1e9, 1e9))
    load_library(path)
    assert len(list((path / "__pycache__").glob("step_node_a.*.pyc"))) == 1
