"""Moved to cvfp_core.schema.fits."""

from cvfp_core.errors import moved
from cvfp_core.schema.fits import *  # noqa: F403

moved(__name__, "cvfp_core.schema.fits")
