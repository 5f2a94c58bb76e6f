from cvfp_core.kinds import Analysis
from cvfp_core.testing import check_analysis, load_only

import cvfp_old


def test_nothing_is_seen_in_chance():
    analysis = load_only(cvfp_old).get(Analysis, "old-by-heart")
    check_analysis(analysis)
