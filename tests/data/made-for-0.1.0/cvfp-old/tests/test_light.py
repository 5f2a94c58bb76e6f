from cvfp_core.decisions import colour
from cvfp_core.kinds import Light
from cvfp_core.testing import load_only

import cvfp_old


def test_the_light_is_green_where_contexts_stand_still_and_red_where_they_move():
    light = load_only(cvfp_old).get(Light, "old-movement")
    assert [colour(light, value) for value in (0.005, 0.02, 0.1, None)] == ["green", "yellow", "red", None]
