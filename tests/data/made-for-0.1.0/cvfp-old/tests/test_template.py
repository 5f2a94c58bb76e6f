from cvfp_core.kinds import Template
from cvfp_core.testing import check_template, load_only

import cvfp_old


def test_the_report_is_written_whatever_the_records_lack():
    template = load_only(cvfp_old).get(Template, "old")
    check_template(template)
