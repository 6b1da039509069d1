"""Sets up `.venv` where needed and runs the tests, all of them or as pytest's arguments say.

python3 scripts/run_tests.py                 everything, on all cores
python3 scripts/run_tests.py -m "not (slow or exhaustive)"   the quick ones
python3 scripts/run_tests.py tests/modules/test_octo_errors.py -k pickle -n 0
"""

import sys

import project_environment


def main() -> int:
    """Return pytest's exit code."""
    python = project_environment.prepare("all,dev")
    return project_environment.run([python, "-m", "pytest", "-n", "auto", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
