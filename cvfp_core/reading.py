"""Moved to cvfp_core.ingesting.reading."""

from cvfp_core.errors import moved
from cvfp_core.ingesting.reading import *  # noqa: F403

moved(__name__, "cvfp_core.ingesting.reading")
