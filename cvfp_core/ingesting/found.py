"""Moved to cvfp_core.schema.found."""

from cvfp_core.errors import moved
from cvfp_core.schema.found import *  # noqa: F403

moved(__name__, "cvfp_core.schema.found")
