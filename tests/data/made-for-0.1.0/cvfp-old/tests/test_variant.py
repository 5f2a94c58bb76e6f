from cvfp_core.kinds import VariantFamily
from cvfp_core.testing import check_variant, load_only

import cvfp_old

FAMILY = load_only(cvfp_old).get(VariantFamily, "old")


def test_both_phases_train_a_model_of_one_layer():
    check_variant(FAMILY, "old_1L_16d_1tok")


def test_both_phases_train_a_model_of_two_layers_that_sees_two_tokens():
    check_variant(FAMILY, "old_2L_16d_2tok", options={"leak": 0.5})
