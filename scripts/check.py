"""Everything but the behaviour: format, lint, types, import directions, links of the documentation.

`python3 scripts/check.py` sets up `.venv` where needed, makes every check whatever the ones before
it found, and ends with the list of those that failed. It changes nothing: `.venv/bin/ruff format .`
and `.venv/bin/ruff check --fix .` do.
"""

import argparse
import sys

import project_environment

CHECKS = {
    "format": ["ruff", "format", "--check", "--diff", "--quiet", "."],
    "lint": ["ruff", "check", "--quiet", "."],
    "types": ["mypy", "."],
    "imports and links": ["pytest", "-q", "tests/test_import_directions.py", "tests/test_links.py"],
}


def main() -> int:
    """Return 0 where all checks passed, else 1."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    python = project_environment.prepare("all,dev")
    failed = []
    for name, command in CHECKS.items():
        print(f"== {name}: {' '.join(command)}")
        if project_environment.run([python, "-m", *command]):
            failed.append(name)
    print(f"\nFailed: {', '.join(failed)}" if failed else "\nAll checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
