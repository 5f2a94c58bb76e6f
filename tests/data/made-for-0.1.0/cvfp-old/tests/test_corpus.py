from cvfp_core.kinds import CorpusSource
from cvfp_core.testing import check_corpus, load_only

import cvfp_old


def test_the_corpus_can_be_trained_on_and_its_hash_tells_options_apart():
    source = load_only(cvfp_old).get(CorpusSource, "old")
    check_corpus(source, options={"documents": 50}, others=[{"documents": 60}, {"documents": 50, "embed_dim": 8}])
