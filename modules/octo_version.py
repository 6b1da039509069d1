"""The version of the project, also for what is built from it (pyproject.toml)."""

VERSION = "0.1.0"
