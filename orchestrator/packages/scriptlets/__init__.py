"""Reusable tasks that the steps of recipes call; begin with `scriptlets.framework`.

The folder `scriptlets` of a recipe is part of this package while its steps run.
"""
