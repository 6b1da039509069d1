"""Every kind of mistake in a recipe is told at its place, with what to do; all of them at once."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from octo_errors import RecipeError
from orchestrator.recipe_check import MOST_CYCLES, CheckedRecipe, check_recipe
from orchestrator.recipe_document import Report, in_order
from tests.support import MakeLibrary

TASKS = """\
    LIMIT = 3
    def two(x, y): ...
    def some(x=1, *, y): ...
    def placed(a, /): ...
    def any_at_all(*args, **kwargs): ...
    def with_context(context, y): ...
    async def later(x): ...
    class Load:
        parameters = {"source": str, "limit": Parameter(int, default=3)}
        def run(self, context, params): ...
    class Free:
        def run(self, context, params): ...
    class Plain:
        def __init__(self, a): ...
    """


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckText:
    """Checks a recipe of this text, beside tasks.py."""
    (tmp_path / "tasks.py").write_text(textwrap.dedent(TASKS))
    monkeypatch.chdir(tmp_path)
    return CheckText(tmp_path)


class CheckText:
    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, text: str, name: str = "r.yaml") -> None:
        (self.directory / name).write_text(textwrap.dedent(text))

    def __call__(self, text: str) -> CheckedRecipe:
        self.write(text)
        return check_recipe("r.yaml")

    def problems(self, text: str) -> list[str]:
        return [str(each) for each in in_order(self(text).problems)]


CALL = "module: builtins, function: print"
OTHER = f"steps: [{{name: a, {CALL}}}]"
"""The rest of a recipe whose head is wrong."""

MISTAKES = [
    # --- the whole ---
    ("[1]", "1:1", "a recipe is a mapping, and this is a list", "it begins with `steps:`"),
    ("a: 1", "1:1", "there is no key 'a'", "there are: format"),
    ("metadata: {name: x}", "1:1", "steps is missing", ""),
    ("steps: []", "1:1", "steps must be a list of at least one", ""),
    ("steps: 5", "1:1", "steps must be a list, and is a whole number", "with `- `"),
    ("steps: [{load: {module: x}}]", "1:9", "step 1 has no name", "write `- name: load`"),
    (f"{OTHER}\nstesp: 1", "2:1", "there is no key 'stesp'", "did you mean 'steps'?"),
    (f"{OTHER}\ntags: [x]", "2:1", "there is no key 'tags'", "it is a key of metadata: mind"),
    (f"{OTHER}\nformat: 2", "2:1", "format is 2, and this program reads format 1", "newer"),
    (f"{OTHER}\nmetadata: [x]", "2:1", "metadata must be a mapping, and is a list", ""),
    (f"{OTHER}\nmetadata: {{name: [x]}}", "2:12", "metadata: name must be text, and is a", ""),
    (
        f'{OTHER}\nmetadata: {{name: "a\\e[2J"}}',
        *("2:12", "name has a character that can't be shown, U+001B", "take it away"),
    ),
    (f'{OTHER}\ninputs: {{n: {{description: "\\b"}}}}', "2:14", "can't be shown, U+0008", ""),
    (f"{OTHER}\ndefaults: {{timeot: 1}}", "2:12", "no key 'timeot'", "did you mean 'timeout'?"),
    (f"{OTHER}\ndefaults: {{on_error: {{go_to: b}}}}", "2:23", "goes to 'b'", "there are: a"),
    (f"{OTHER}\ndefaults: {{executor: thread}}", "2:12", "one of serial", "mean 'threads'?"),
    (f"{OTHER}\ndefaults: {{workers: 0}}", "2:12", "a whole number above 0, and is 0", ""),
    # --- inputs ---
    (f"{OTHER}\ninputs: {{a-b: 1}}", "2:10", "input 'a-b': templates can't name it", "letters"),
    (f"{OTHER}\ninputs: {{n: {{typ: any}}}}", "2:14", "no key 'typ'", "did you mean 'type'?"),
    (f"{OTHER}\ninputs: {{n: {{type: text}}}}", "2:14", "must be one of string", ""),
    (f"{OTHER}\ninputs: {{n: {{type: integer, default: x}}}}", "2:29", "default must be a", ""),
    (f"{OTHER}\ninputs: {{n: {{type: string, default: 1.10}}}}", "2:28", "must be text", ""),
    (f"{OTHER}\ninputs: {{n: {{choices: [1, a], type: integer}}}}", "2:27", "a choice must", ""),
    (f"{OTHER}\ninputs: {{n: {{choices: [a], default: b}}}}", "2:28", "one of 'a', and is", ""),
    (f"{OTHER}\ninputs: {{n: {{secret: true, default: b}}}}", "2:28", "has no default", "env:"),
    (f"{OTHER}\ninputs: {{n: '{{{{ env.HOME }}}}/n'}}", "2:10", "is no template", "for args"),
    (f"{OTHER}\ninputs: {{n: {{default: [1, '{{{{inputs.m}}}}']}}}}", "2:14", "is no template", ""),
    (f"{OTHER}\ninputs: {{n: {{secret: yes}}}}", "2:14", "secret must be true or", "write true"),
    # --- steps by themselves ---
    ("steps: [5]", "1:9", "step 1 must be a mapping, and is a whole number", ""),
    (f"steps: [{{{CALL}}}]", "1:9", "step 1: name is missing", ""),
    ("steps: [{name: [a]}]", "1:10", "step 1: name must be text, and is a list", ""),
    ("steps: [{name: 5}]", "1:10", "step 1: name must be text, and is 5", "put it in quotes"),
    (f"steps: [{{name: a, {CALL}, sep: x}}]", "1:54", "there is no key 'sep'", "from args"),
    (f"steps: [{{name: a, {CALL}, workers: 2}}]", "1:54", "no key 'workers'", "key of defaults"),
    (f"steps: [{{name: ' a', {CALL}}}]", "1:10", "a step can't be called ' a'", "no blanks"),
    (f"steps: [{{name: 'a[1]', {CALL}}}]", "1:10", "a step can't be called 'a[1]'", "no [ or ]"),
    (f"steps: [{{name: '', {CALL}}}]", "1:10", "a step can't be called ''", ""),
    (f"steps: [{{name: 'x {{{{ y }}}}', {CALL}}}]", "1:10", "a name is no template", "for args"),
    (f"steps: [{{name: inputs, {CALL}}}]", "1:10", "the engine keeps a group of that", ""),
    (
        f"steps: [{{name: a, {CALL}}},\n {{name: a, {CALL}}}]",
        *("2:3", "there is a step 'a' already, in line 1", "a name of its own"),
    ),
    (
        f"steps: [{{name: a, idx: 1, {CALL}}},\n {{name: b, idx: 1, {CALL}}}]",
        *("2:12", "step 'b': step 'a' in line 1 has idx 1, too", ""),
    ),
    ("steps: [{name: a, type: shel, command: ls}]", "1:19", "must be one of python", "'shell'?"),
    ("steps: [{name: a, module: x}]", "1:9", "step 'a': a python step needs function", ""),
    ("steps: [{name: a, type: recipe}]", "1:9", "step 'a': a recipe step needs recipe", ""),
    (f"steps: [{{name: a, {CALL}, command: ls}}]", "1:54", "command is for shell steps", ""),
    (f"steps: [{{name: a, {CALL}, retries: 1.5}}]", "1:54", "retries must be a whole", ""),
    (f"steps: [{{name: a, {CALL}, idx: 1.5}}]", "1:54", "a whole number, and is 1.5", ""),
    (f"steps: [{{name: a, {CALL}, retries: -1}}]", "1:54", "0 or more, and is -1", ""),
    (f"steps: [{{name: a, {CALL}, timeout: '60'}}]", "1:54", "must be a number", "without quotes"),
    (f"steps: [{{name: a, {CALL}, timeout: '{{{{ x }}}}'}}]", "1:54", "timeout must", "for args"),
    (f"steps: [{{name: a, {CALL}, timeout: 0}}]", "1:54", "above 0, and is 0", ""),
    (f"steps: [{{name: a, {CALL}, retry_jitter: 2}}]", "1:54", "a number from 0 to 1", ""),
    (f"steps: [{{name: a, {CALL}, on_error: contniue}}]", "1:54", "on_error must", "'continue'"),
    (f"steps: [{{name: a, {CALL}, on_error: ignore}}]", "1:54", "on_error must be fail", ""),
    (f"steps: [{{name: a, {CALL}, on_error: {{goto: a}}}}]", "1:54", "with 'goto'", "'go_to'?"),
    (f"steps: [{{name: a, {CALL}, on_error: {{go_to: 5}}}}]", "1:54", "without the name", ""),
    (f"steps: [{{name: a, {CALL}, enabled: no}}]", "1:54", "true or false", "write false"),
    (f"steps: [{{name: a, {CALL}, on_interrupt: rreun}}]", "1:54", "one of rerun", "'rerun'?"),
    (f"steps: [{{name: a, {CALL}, args: 5}}]", "1:54", "args must be a mapping or a list", ""),
    (f"steps: [{{name: a, {CALL}, depends_on: [1]}}]", "1:54", "must be a list of names", ""),
    (f"steps: [{{name: a, {CALL}, foreach_limit: 2}}]", "1:54", "without a foreach", ""),
    (
        f"steps: [{{name: a, {CALL}, success: {{ctx_has_key: [x]}}}}]",
        *("1:64", "there is no key 'success.ctx_has_key'", "did you mean 'ctx_has_keys'?"),
    ),
    (
        f"steps: [{{name: a, {CALL}, retries: 1, max_retries: 1}}]",
        *("1:66", "max_retries and retries are two names of the same", ""),
    ),
    # --- what they depend on ---
    (f"steps: [{{name: aa, {CALL}, depends_on: [ab]}}]", "1:68", "no such step", "there are: aa"),
    (f"steps: [{{name: a, {CALL}, depends_on: a}}]", "1:54", "each other: a -> a", ""),
    (
        f"""\
steps:
- {{name: a, {CALL}, depends_on: [c]}}
- {{name: b, {CALL}, depends_on: [a]}}
- {{name: c, {CALL}, depends_on: [b]}}
""",
        *("2:61", "steps wait for each other: a -> c -> b -> a", ""),
    ),
    (
        f"steps:\n- {{name: a, {CALL}, finally: true}}\n- {{name: b, {CALL}, depends_on: [a]}}",
        *("3:61", "depends on 'a', a finally step, which comes last", ""),
    ),
    (
        f"steps:\n- {{name: a, {CALL}}}\n- {{name: b, {CALL}, finally: true, depends_on: [a]}}",
        *("3:76", "depends on 'a', which is no finally step", "without saying so"),
    ),
    (f"steps: [{{name: a, {CALL}, on_error: {{go_to: b}}}}]", "1:65", "no such step", "are: a"),
    (
        f"steps:\n- {{name: a, {CALL}, finally: true, on_error: {{go_to: a}}}}",
        *("2:74", "on_error goes to a step, and a finally step can't", "fail, or continue"),
    ),
    (
        f"""\
steps:
- {{name: a, {CALL}, on_error: {{go_to: b}}}}
- {{name: b, {CALL}, depends_on: [c]}}
- {{name: c, {CALL}}}
""",
        *("2:59", "goes to 'b', which has depends_on", "waits for nothing else"),
    ),
    (
        f"steps:\n- {{name: a, {CALL}, on_error: {{go_to: b}}}}\n"
        f"- {{name: b, {CALL}, enabled: false}}",
        *("2:59", "goes to 'b', which is not enabled", ""),
    ),
    (
        f"steps:\n- {{name: a, {CALL}, on_error: {{go_to: b}}}}\n"
        f"- {{name: b, {CALL}, finally: true}}",
        *("2:59", "goes to 'b', a finally step, which runs anyway", ""),
    ),
    (
        f"""\
steps:
- {{name: a, {CALL}, on_error: {{go_to: b}}}}
- {{name: b, {CALL}, on_error: {{go_to: a}}}}
""",
        *("3:59", "steps wait for each other: a -> b -> a", ""),
    ),
    (
        f"""\
defaults: {{on_error: {{go_to: b}}}}
steps:
- {{name: a, {CALL}}}
- {{name: b, {CALL}}}
- {{name: c, {CALL}, depends_on: b}}
""",
        *("5:3", "each other: b -> c -> b", "as defaults say: give 'c' an on_error of its own"),
    ),
    # --- what they call ---
    ("steps: [{name: a, module: taks, function: two}]", "1:19", "no module 'taks'", "'tasks'?"),
    ("steps: [{name: a, module: tasks, function: tow}]", "1:34", "no 'tow'", "mean 'two'"),
    ("steps: [{name: a, module: tasks, function: LIMIT}]", "1:34", "is no function", ""),
    ("steps: [{name: a, module: tasks, function: two, args: [1]}]", "1:49", "'y'", "two(x, y)"),
    ("steps: [{name: a, module: tasks, function: two}]", "1:9", "argument 'x'", "two(x, y)"),
    (
        "steps: [{name: a, module: tasks, function: two, args: [1, 2, 3]}]",
        *("1:62", "two takes 2 arguments, and args has 3", ""),
    ),
    (
        "steps: [{name: a, module: tasks, function: two, args: {x: 1, y: 2, yy: 3}}]",
        *("1:68", "two has no argument 'yy'", "did you mean 'y'?"),
    ),
    (
        "steps: [{name: a, module: tasks, function: some, args: [1]}]",
        *("1:50", "some needs the argument 'y'", "it is some(x=1, *, y)"),
    ),
    (
        "steps: [{name: a, module: tasks, function: placed, args: {a: 1}}]",
        *("1:59", "placed takes 'a' by its place, not by name", "make args a list"),
    ),
    (
        "steps: [{name: a, module: tasks, function: with_context, args: [1]}]",
        *("1:58", "with_context gets its context from the engine", "name each"),
    ),
    ("steps: [{name: a, module: tasks, function: later}]", "1:9", "argument 'x'", ""),
    ("steps: [{name: a, module: tasks, function: Plain}]", "1:9", "argument 'a'", "Plain(a)"),
    ("steps: [{name: a, module: tasks, function: Load}]", "1:9", "parameter 'source'", ""),
    ("steps: [{name: a, module: tasks, function: Free, args: [1]}]", "1:50", "scriptlet", ""),
    (
        "steps: [{name: a, module: tasks, function: Load, args: {source: x, limt: 3}}]",
        *("1:68", "Load has no parameter 'limt'", "did you mean 'limit'?"),
    ),
    ("steps: [{name: a, module: builtins, function: prnt}]", "1:37", "no 'prnt'", "'print'?"),
    ("steps: [{name: a, module: os, function: getcwd, args: [1]}]", "1:56", "no arguments", ""),
    # --- shell steps, nodes, recipes ---
    ("steps: [{name: a, type: shell}]", "1:9", "a shell step needs command", ""),
    ("steps: [{name: a, type: shell, command: ''}]", "1:32", "command is empty", ""),
    ("steps: [{name: a, type: shell, command: true}]", "1:32", "and is true", "in quotes"),
    ("steps: [{name: a, type: shell, command: [ls, [x]]}]", "1:46", "this is a list", ""),
    ("steps: [{name: a, type: shell, command: ls, args: [x]}]", "1:45", "must be a mapping", ""),
    ("steps: [{name: a, type: shell, command: ls, args: {evn: {}}}]", "1:52", "'evn'", "env"),
    (
        "steps: [{name: a, type: shell, command: ls, args: {env: {A: true}}}]",
        *("1:58", "env 'A' must be text, and is true", "put it in quotes"),
    ),
    (
        "steps: [{name: a, type: shell, command: ls, args: {command: ls}}]",
        *("1:52", "command is given twice, as a key and in args", ""),
    ),
    ("steps: [{name: a, type: step_node, module: helo, function: x}]", "1:36", "'helo'", ""),
    (
        "steps: [{name: a, type: recipe, recipe: no.yaml}]",
        "1:33",
        "no.yaml: there is no such file",
        "",
    ),
    ("steps: [{name: a, type: recipe, recipe: r.yaml}]", "1:33", "r.yaml -> r.yaml", ""),
    ("steps: [{name: a, type: recipe, recipe: '{{ x }}'}]", "1:33", "is no template", ""),
    # --- templates ---
    (f"steps: [{{name: a, {CALL}, args: ['x {{{{ y }}}}']}}]", "1:67", "'y' is not defined", ""),
    (
        f"inputs: {{size: 1}}\nsteps:\n- name: a\n  {CALL.replace(', ', chr(10) + '  ')}\n"
        "  args:\n  - |\n    a\n    {{ inputs.siz }}\n",
        *("9:1", "there is no input 'siz'", "did you mean 'size'?"),
    ),
    (f"steps: [{{name: a, {CALL}, when: x > 1}}]", "1:60", "'x' is not defined", ""),
    (
        f"steps: [{{name: a, {CALL}, when: 1 >}}]",
        "1:64",
        "is no condition: unexpected 'end'",
        "write one",
    ),
    (f"steps: [{{name: a, {CALL}, when: 1 = 2}}]", "1:62", "is no condition", "write =="),
    (f"steps: [{{name: a, {CALL}, foreach: '{{{{ item }}}}'}}]", "1:67", "'item'", "has none"),
    (
        f"steps: [{{name: a, {CALL}, success: {{files_exist: ['{{{{ inputs.x }}}}']}}}}]",
        *("1:89", "there is no input 'x'", "the recipe has no inputs"),
    ),
    (f"steps: [{{name: a, {CALL}, foreach: abc}}]", "1:54", "foreach must be a list or a", ""),
    (
        f"steps: [{{name: a, {CALL}, foreach: 'x {{{{ [1] }}}}'}}]",
        *("1:64", "makes it a text", "write one expression"),
    ),
    (f"steps: [{{name: a, {CALL}, args: ['{{{{ item }}}}']}}]", "1:65", "'item' is not", "foreach"),
    (
        f"steps:\n- {{name: a, {CALL}, args: ['{{{{ results.b }}}}']}}\n- {{name: b, {CALL}}}",
        *("2:67", "step 'b' may not be done before this one", "add it to depends_on: b"),
    ),
    (
        f"steps:\n- {{name: a, {CALL}, args: ['{{{{ results.a }}}}']}}",
        *("2:67", "step 'a' may not be done before this one", "it is this step itself"),
    ),
    (
        f"steps:\n- {{name: a, {CALL}, args: ['{{{{ results.b }}}}']}}\n"
        f"- {{name: b, {CALL}, depends_on: a}}",
        *("2:67", "step 'b' may not be done before this one", "it waits for this one"),
    ),
    (
        f"steps:\n- {{name: a, {CALL}, args: ['{{{{ results.b }}}}']}}\n"
        f"- {{name: b, {CALL}, finally: true}}",
        *("2:67", "step 'b' may not be done before this one", "a finally step, which comes last"),
    ),
    (
        f"""\
steps:
- {{name: a, {CALL}, args: ['{{{{ results.c }}}}']}}
- {{name: b, {CALL}, on_error: {{go_to: a}}}}
- {{name: c, {CALL}}}
""",
        *("2:67", "step 'c' may not be done before this one", "depends_on of 'b': c"),
    ),
    (
        f"""\
steps:
- {{name: a, {CALL}, args: ['{{{{ results.c }}}}']}}
- {{name: b, {CALL}, on_error: {{go_to: a}}}}
- {{name: c, {CALL}, depends_on: b}}
""",
        *("2:67", "step 'c' may not be done before", "it waits for 'b', whose failure leads here"),
    ),
]


@pytest.mark.parametrize(("text", "place", "message", "hint"), MISTAKES)
def test_a_mistake_is_told_at_its_place(
    check: CheckText, text: str, place: str, message: str, hint: str
) -> None:
    found = check.problems(text)
    there = [each for each in found if each.startswith(f"r.yaml:{place}: ") and message in each]
    assert len(there) == 1, found
    assert hint in there[0]


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("steps: [{name: a, typ: shell, command: ls}]", "1:19", "no key 'typ'", "'type'?"),
        ("steps: [{name: a, type: shell, comand: ls}]", "1:32", "no key 'comand'", "'command'?"),
        ("steps: [{name: a, modul: x, function: f}]", "1:19", "no key 'modul'", "'module'?"),
        (f"steps: [{{nam: a, {CALL}}}]", "1:10", "step 1: there is no key 'nam'", "'name'?"),
        ("steps: [{name: a, command: ls}]", "1:19", "without a type this is", "`type: shell`"),
        ("steps: [{name: a, recipe: b.yaml}]", "1:19", "for recipe steps", "`type: recipe`"),
        ("stpes: [{name: a}]", "1:1", "there is no key 'stpes'", "'steps'?"),
        (
            f"inpust: {{n: 1}}\nsteps: [{{name: a, {CALL}, args: ['{{{{ inputs.n }}}}']}}]",
            *("1:1", "there is no key 'inpust'", "'inputs'?"),
        ),
        (
            f"steps:\n- {{nam: b, {CALL}}}\n"
            f"- {{name: a, {CALL}, depends_on: b, args: ['{{{{ results.b }}}}']}}",
            *("2:4", "there is no key 'nam'", "'name'?"),
        ),
        (
            "steps: [{name: a, module: tasks, function: two, args: {x: 1, yy: 3}}]",
            *("1:62", "two has no argument 'yy'", "did you mean 'y'?"),
        ),
        (
            "steps: [{name: a, module: tasks, function: Load, args: {sorce: x}}]",
            *("1:57", "Load has no parameter 'sorce'", "did you mean 'source'?"),
        ),
    ],
)
def test_what_only_follows_from_another_mistake_is_not_told(
    check: CheckText, text: str, place: str, message: str, hint: str
) -> None:
    [found] = check.problems(text)
    assert found.startswith(f"r.yaml:{place}: ")
    assert message in found and hint in found


def test_all_mistakes_are_told_at_once_and_what_is_right_is_kept(check: CheckText) -> None:
    heads = [each for each in MISTAKES if re.fullmatch(r"steps: \[\{name: a, .*", each[0])]
    steps = [text.removeprefix("steps: [{name: a, ").removesuffix("}]") for text, *_ in heads]
    named = "".join(f"- {{name: s{place}, {step}}}\n" for place, step in enumerate(steps))
    check.write(f"steps:\n{named}- {{name: good, {CALL}}}\n")
    checked = check_recipe("r.yaml")
    assert checked.recipe is not None
    assert [step.name for step in checked.recipe.steps][-1] == "good"
    assert {each.line for each in checked.problems} == {place + 2 for place in range(len(steps))}


def test_a_step_whose_name_is_taken_or_whose_args_are_none_is_checked_all_the_same(
    check: CheckText,
) -> None:
    check.write("inputs: {size: {type: integer}}\nsteps: [5]", "b.yaml")
    found = check.problems(f"""\
        steps:
        - {{name: a, {CALL}}}
        - {{name: a, module: absent, function: f, depends_on: b}}
        - {{name: c, module: tasks, function: twp, args: 5}}
        - {{name: d, module: tasks, function: two, args: 5}}
        - {{name: e, type: shell, args: 5}}
        - {{name: f, type: recipe, recipe: b.yaml, args: 5}}
        """)
    assert [each.partition("\n")[0] for each in found] == [
        "b.yaml:2:9: step 1 must be a mapping, and is a whole number",
        "r.yaml:3:4: there is a step 'a' already, in line 2",
        "r.yaml:3:13: step 'a': there is no module 'absent'",
        "r.yaml:3:42: step 'a' depends on 'b', and there is no such step",
        "r.yaml:4:28: step 'c': tasks has no 'twp'",
        "r.yaml:4:43: step 'c': args must be a mapping or a list, and is 5",
        "r.yaml:5:43: step 'd': args must be a mapping or a list, and is 5",
        "r.yaml:6:26: step 'e': args must be a mapping or a list, and is 5",
        "r.yaml:7:43: step 'f': args must be a mapping or a list, and is 5",
    ]


def test_mistakes_of_the_head_are_told_where_no_step_is_right(check: CheckText) -> None:
    found = check.problems("stesp: 1\ninputs: {n: {type: integer, default: x}}\nsteps: [{}, 5]")
    assert [each.split(": ")[0] for each in found] == [
        "r.yaml:1:1",
        "r.yaml:2:29",
        "r.yaml:3:9",
        "r.yaml:3:13",
    ]


def test_a_problem_is_told_in_the_file_that_was_given(check: CheckText) -> None:
    check.write("steps: 5")
    for shown in ("r.yaml", "./r.yaml", str(check.directory / "r.yaml")):
        assert check_recipe(shown).problems[0].file == shown


@pytest.mark.parametrize(
    ("metadata", "name"),
    [
        ("{name: two words, test_id: x}", "two words"),
        ("\n  name: |\n    two\n    words\n", "two words"),
        ("{name: ' ', test_id: T-7}", "T-7"),
        ("{name: ''}", "r"),
        ("{author: ada}", "r"),
    ],
)
def test_the_name_of_a_recipe_is_one_line(check: CheckText, metadata: str, name: str) -> None:
    checked = check(f"{OTHER}\nmetadata: {metadata}")
    assert checked.problems == []
    assert checked.name == name


def test_of_many_circles_ten_are_told(check: CheckText) -> None:
    steps = "".join(
        f"- {{name: a{n}, {CALL}, depends_on: b{n}}}\n- {{name: b{n}, {CALL}, depends_on: a{n}}}\n"
        for n in range(MOST_CYCLES + 5)
    )
    found = check.problems(f"steps:\n{steps}")
    assert len(found) == MOST_CYCLES
    assert all("steps wait for each other: a" in each for each in found)


def test_the_nearest_names_of_many_mistakes_are_looked_up_for_some(check: CheckText) -> None:
    steps = "".join(
        f"- {{name: s{n}, {CALL}, args: ['{{{{ inputs.size_{n} }}}} {{{{ results.s_{n} }}}}']}}\n"
        for n in range(100)
    )
    told = check(f"inputs: {{size: 1}}\nsteps:\n{steps}").problems
    assert len(told) == 200
    assert 0 < sum(bool(each.hint) for each in told) <= Report.MOST_HINTS
    assert not any("has no inputs" in each.hint for each in told)


def test_of_a_long_circle_the_first_and_the_last_are_named(check: CheckText) -> None:
    steps = "".join(
        f"- {{name: s{n}, {CALL}, depends_on: s{(n + 1) % 5000}}}\n" for n in range(5000)
    )
    (found,) = check.problems(f"steps:\n{steps}")
    assert "s0 -> s1 -> s2 -> " in found
    assert found.endswith(" -> s27 -> ... (4971 more) -> s4999 -> s0")


@pytest.mark.parametrize(
    "step",
    [
        CALL,
        f"{CALL}, args: [1, '{{{{ inputs.n }}}}']",
        f"{CALL}, args: {{sep: x}}",
        "type: python, module: tasks, function: two, args: ['{{ inputs.n }}', 2]",
        "module: tasks, function: two, args: {x: 1, y: 2}",
        "module: tasks, function: placed, args: [1]",
        "module: tasks, function: any_at_all, args: {what: ever}",
        "module: tasks, function: any_at_all, args: [1, 2, 3]",
        "module: tasks, function: with_context, args: {y: 1}",
        "module: tasks, function: Load, args: {source: x}",
        "module: tasks, function: Free, args: {what: ever}",
        "module: tasks, function: Plain, args: [1]",
        f"{CALL}, foreach: [1, 2], foreach_limit: 1, args: ['{{{{ item }}}} {{{{ index }}}}']",
        f"{CALL}, when: inputs.n > 1 and inputs.n is defined",
        f"{CALL}, foreach: [1, 2], when: item > index, success: {{files_exist: '{{{{ item }}}}'}}",
        f"{CALL}, when: true, retries: 3, retry_delay: 0.5, timeout: 1.5",
        f"{CALL}, finally: true, args: ['{{{{ results.first }}}}']",
        f"{CALL}, depends_on: first, args: ['{{{{ results.first }}}}']",
        f"{CALL}, on_error: {{go_to: first}}, success: {{ctx_has_keys: x, files_exist: [a, b]}}",
        "type: shell, command: [ls, -l, 3], args: {env: {A: x}, directory: /}",
        "type: shell, args: {command: ls}",
    ],
)
def test_what_is_right_is_not_told(check: CheckText, step: str) -> None:
    text = f"inputs: {{n: 1}}\nsteps:\n- {{name: first, {CALL}}}\n- {{name: a, {step}}}"
    assert check.problems(text) == []


@pytest.mark.parametrize(
    "default", ["docker ps --format {{.Names}}", "${{ env.HOME }}", "Dear {{ name }},", "{{", "env"]
)
def test_braces_for_other_programs_are_a_default_like_any_other(
    check: CheckText, default: str
) -> None:
    assert check.problems(f"{OTHER}\ninputs: {{n: '{default}'}}") == []


# --- recipes in recipes, nodes of libraries -------------------------------------------------------


def test_recipes_that_nest_each_other_are_told(check: CheckText) -> None:
    check.write("steps: [{name: b, type: recipe, recipe: c.yaml}]", "b.yaml")
    check.write("steps: [{name: c, type: recipe, recipe: r.yaml}]", "c.yaml")
    found = check.problems("steps: [{name: a, type: recipe, recipe: b.yaml}]")
    assert found == [
        "c.yaml:1:33: step 'c': recipes nest each other: r.yaml -> b.yaml -> c.yaml -> r.yaml"
    ]


def test_problems_of_a_nested_recipe_are_told_once_in_its_file(check: CheckText) -> None:
    check.write("steps: [{name: b}]", "b.yaml")
    step = "type: recipe, recipe: b.yaml"
    found = check.problems(f"steps: [{{name: a, {step}}}, {{name: c, {step}}}]")
    assert [each.partition(": ")[0] for each in found] == ["b.yaml:1:9"] * 2
    assert len(set(found)) == 2


def test_the_inputs_of_a_nested_recipe_are_checked(check: CheckText) -> None:
    inputs = "{size: {type: integer}, kind: {type: string, default: null}, key: {env: KEY}}"
    check.write(f"inputs: {inputs}\n{OTHER}", "b.yaml")
    step = "type: recipe, recipe: b.yaml"
    assert check.problems(f"steps: [{{name: a, {step}, args: {{size: 1, kind: null}}}}]") == []
    assert check.problems(f"steps: [{{name: a, {step}, args: {{size: '{{{{ env.X }}}}'}}}}]") == []
    found = check.problems(f"steps: [{{name: a, {step}, args: {{siez: 1, kind: 2}}}}]")
    assert found == [
        "r.yaml:1:49: step 'a': b.yaml needs the input 'size'",
        "r.yaml:1:56: step 'a': b.yaml has no input 'siez'\n  did you mean 'size'?",
        "r.yaml:1:65: step 'a': b.yaml: input 'kind' must be text, and is a whole number",
    ]


def test_nodes_of_libraries_are_found_and_misspelt_ones_told(
    check: CheckText, make_library: MakeLibrary
) -> None:
    library = make_library({"load": "class step_node_load:\n    pass"}, "mine")
    checked = check("steps: [{name: a, type: step_node, module: mine, function: step_node_load}]")
    assert checked.problems == []
    assert checked.nodes["a"][0] == library
    found = check.problems(
        "steps: [{name: a, type: step_node, module: mine, function: step_node_laod}]"
    )
    assert found[0].startswith("r.yaml:1:50: step 'a': ")
    assert "did you mean 'step_node_load'?" in found[0]


def test_a_file_that_cant_be_read_is_an_error(check: CheckText) -> None:
    with pytest.raises(RecipeError, match=r"no\.yaml: there is no such file"):
        check_recipe("no.yaml")
