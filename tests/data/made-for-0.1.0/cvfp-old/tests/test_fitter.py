from cvfp_core.kinds import Fitter
from cvfp_core.testing import check_fitter, load_only

import cvfp_old


def test_the_law_is_recovered_from_data_that_follow_it():
    fitter = load_only(cvfp_old).get(Fitter, "old-law")
    check_fitter(fitter, {"a": 1000.0, "b": 35.0}, unit_free=["b"])
