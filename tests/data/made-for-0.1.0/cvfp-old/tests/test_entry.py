from cvfp_core.testing import check_light

import cvfp_old


def test_cvfp_stays_quick_with_the_plugin_installed():
    check_light(cvfp_old)
