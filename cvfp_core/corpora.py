"""Moved to cvfp_core.running.corpora."""

from cvfp_core.errors import moved
from cvfp_core.running.corpora import *  # noqa: F403

moved(__name__, "cvfp_core.running.corpora")
