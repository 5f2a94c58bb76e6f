"""Moved to cvfp_core.schema.options."""

from cvfp_core.errors import moved
from cvfp_core.schema.options import *  # noqa: F403

moved(__name__, "cvfp_core.schema.options")
