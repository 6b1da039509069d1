"""Recipes, and what is built on the engine."""
