from types import SimpleNamespace

from cvfp_core.testing import load_only

import cvfp_old


def test_what_a_run_does_is_logged(caplog):
    caplog.set_level("INFO")
    plugin, cell = load_only(cvfp_old), SimpleNamespace(run_id="a-run")
    facts = {"metrics": {"seconds_phase1": 1.5}, "record": {"status": "ok", "val_ppl": 99.5}, "phase": 1}
    for hook in ("cvfp_run_started", "cvfp_phase_finished", "cvfp_run_finished"):
        assert plugin.notify(hook, cell=cell, **facts) == []
    assert caplog.messages == ["a-run: started", "a-run: phase 1 took 1.5 s", "a-run: ok, val_ppl 99.5"]
