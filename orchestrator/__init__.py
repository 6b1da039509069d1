"""Recipes, and what is built on the engine.

`orchestrator.compile_recipe` compiles a recipe; see `orchestrator.recipe_compiler`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # as in typing, which is slow to load
if TYPE_CHECKING:
    from typing import Any

    from orchestrator.recipe_compiler import compile_recipe

__all__ = ["compile_recipe"]


def __getattr__(name: str) -> Any:  # `import orchestrator.context` is not to load the compiler
    if name == "compile_recipe":
        from orchestrator.recipe_compiler import compile_recipe

        return compile_recipe
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
