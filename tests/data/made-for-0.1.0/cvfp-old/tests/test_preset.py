from cvfp_core.config import settings_from
from cvfp_core.kinds import Preset
from cvfp_core.testing import load_only

import cvfp_old


def test_the_settings_are_known_to_the_protocol_and_differ_from_its_defaults():
    preset = load_only(cvfp_old).get(Preset, "old")
    settings = settings_from(preset.overrides)
    assert settings.phase2.epochs == 5
    assert settings != settings_from()
