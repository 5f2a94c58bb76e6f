"""Moved to cvfp_core.claims.findings."""

from cvfp_core.claims.findings import *  # noqa: F403
from cvfp_core.errors import moved
from cvfp_core.schema.claims import *  # noqa: F403

moved(__name__, "cvfp_core.claims.findings")
