"""Rebuilding one picture from another, for the tests of the library and of the command."""

from psal_cli.verbs.reconstruct import rebuild as module
from psal_cli.verbs.reconstruct.options import ReconstructOptions


def rebuild(query, key, visible=None, **options):
    return module.rebuild(query, key, ReconstructOptions(**options), visible=visible)
