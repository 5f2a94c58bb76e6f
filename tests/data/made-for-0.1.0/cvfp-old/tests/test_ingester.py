from cvfp_core.kinds import Ingester
from cvfp_core.testing import check_ingester, load_only

import cvfp_old

LOG = """old-log v1
# two runs
variant=1L_64d_1tok train_tokens=10373 val_ppl=286.2
variant=1L_64d_1tok train_tokens=20206 val_ppl=222.6
"""


def test_every_run_of_a_log_is_read_and_every_line_accounted_for(tmp_path):
    file = tmp_path / "runs.log"
    file.write_text(LOG)
    ingester = load_only(cvfp_old).get(Ingester, "old-log")
    check_ingester(ingester, file, runs=2)
