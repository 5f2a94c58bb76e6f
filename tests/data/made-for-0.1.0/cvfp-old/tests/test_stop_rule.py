import pytest
from cvfp_core.kinds import Iteration, StopRule
from cvfp_core.testing import load_only

import cvfp_old


@pytest.mark.parametrize(("losses", "stops"), [
    ([1.0, 2.0, 3.0, 4.0], True), ([9.0, 1.0, 2.0, 3.0, 4.0], True), ([1.0, 2.0, 3.0], False),
    ([1.0, 2.0, 2.0, 3.0], False), ([1.0, 2.0, None, 4.0, 5.0], False),
])
def test_a_run_is_stopped_when_its_loss_has_risen_three_times(losses, stops):
    rule = load_only(cvfp_old).get(StopRule, "old-rising")
    iterations = [Iteration(iteration=i, loss=loss) for i, loss in enumerate(losses, 2)]
    assert (rule.stops(iterations) is not None) == stops
