import cvfp_core.execute
from cvfp_core.kinds import Executor
from cvfp_core.testing import load_only

import cvfp_old


def test_all_cells_are_executed_and_every_event_is_handed_on(monkeypatch, tmp_path):
    called, heard = [], []
    monkeypatch.setattr(cvfp_core.execute, "execute_cells", lambda *given: called.append(given) or given[2]("event"))
    executor = load_only(cvfp_old).get(Executor, "old")
    executor.run(["a", "b"], tmp_path, 0, heard.append)
    assert called == [(["a", "b"], tmp_path, heard.append)]
    assert heard == ["event"]
