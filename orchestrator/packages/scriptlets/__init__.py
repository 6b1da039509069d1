"""Reusable tasks that the steps of recipes call."""
