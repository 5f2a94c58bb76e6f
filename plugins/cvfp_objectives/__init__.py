"""Objectives of Phase 1: the published diversity term, and those that the research tried next; and ways to end it."""

from __future__ import annotations

from collections.abc import Iterable

from cvfp_core import hookimpl
from cvfp_core.registry.kinds import CONVERGED, MCDL, Ending, Objective, Option
from cvfp_core.registry.lazy import lazy

_STUDY = "CVFP research, the comparison of diversity terms that followed v8"


@hookimpl
def cvfp_objectives() -> Iterable[Objective]:
    yield MCDL
    yield Objective(
        name="odcm",
        title="spread of every dimension, and no covariance between two",
        form="mean_j max(0, 1 - sqrt(S_jj + 1e-4)) + covariance_weight * sum_{i != j} S_ij^2 / d, S = X'X / (B - 1)",
        loss=lazy("cvfp_objectives.moments:odcm"),
        options=(Option(name="covariance_weight", default=0.04, minimum=0, help="of the squared covariances",
                        source="study of diversity terms"),),
        cost="B d^2", unmoved_by=("order", "shift"), source=f"{_STUDY}; after VICReg, arXiv:2105.04906",
    )
    yield Objective(
        name="sdl",
        title="entropy of the singular values, which the effective rank is the exponential of",
        form="sum_k p_k log p_k, p = s / sum(s), s the singular values of C",
        loss=lazy("cvfp_objectives.spectra:sdl"),
        cost="B d^2", unmoved_by=("order", "rotation", "scale"), source=_STUDY,
    )
    yield Objective(
        name="nuc",
        title="nuclear norm around the mean",
        form="-(sum of the singular values of X) / B",
        loss=lazy("cvfp_objectives.spectra:nuc"),
        cost="B d^2", unmoved_by=("order", "shift", "rotation"), source=_STUDY,
    )
    yield Objective(
        name="ctm",
        title="trace of the covariance",
        form="-trace(S) / d, S = X'X / (B - 1)",
        loss=lazy("cvfp_objectives.moments:ctm"), unmoved_by=("order", "shift", "rotation"), source=_STUDY,
    )
    yield Objective(
        name="due",
        title="entropy of how much dimensions are used",
        form="sum_j q_j log q_j / log d, q = a / sum(a), a_j = mean_b |C_bj|",
        loss=lazy("cvfp_objectives.moments:due"), unmoved_by=("order", "scale"), source=_STUDY,
    )
    yield Objective(
        name="udel",
        title="equal and large spread of dimensions",
        form="var_j(s_j) - mean_j(s_j), s_j = sqrt(S_jj), S = X'X / (B - 1)",
        loss=lazy("cvfp_objectives.moments:udel"), unmoved_by=("order", "shift"), source=_STUDY,
    )
    yield Objective(
        name="unif",
        title="uniformity on the unit sphere",
        form="log mean_{a != b} exp(-sharpness * |z_a - z_b|^2), z = C_b / |C_b|",
        loss=lazy("cvfp_objectives.pairs:unif"),
        options=(Option(name="sharpness", default=2.0, above=0, help="of the kernel",
                        source="study of diversity terms"),),
        cost="B^2 d", unmoved_by=("order", "rotation", "scale"), source=f"{_STUDY}; arXiv:2005.10242",
    )
    yield Objective(
        name="infonce",
        title="each context told from all others",
        form="mean_a (log sum_b exp(cos(C_a, C_b) / temperature) - cos(C_a, C_a) / temperature)",
        loss=lazy("cvfp_objectives.pairs:infonce"),
        options=(Option(name="temperature", default=0.1, above=0, help="divides the cosines",
                        source="study of diversity terms"),),
        cost="B^2 d", unmoved_by=("order", "rotation", "scale"), source=f"{_STUDY}; after arXiv:1807.03748",
    )
    yield Objective(
        name="decorr",
        title="correlation matrix near the identity",
        form="mean_ij (R_ij - [i = j])^2, R the correlations of the dimensions; constant ones have none",
        loss=lazy("cvfp_objectives.moments:decorr"),
        cost="B d^2", unmoved_by=("order", "shift", "scale"), source=_STUDY,
    )
    yield Objective(
        name="wmse",
        title="whitened covariance near the identity",
        form="mean_ij (W_ij - [i = j])^2, W = (S + epsilon)^(-1/2) S (S + epsilon)^(-1/2), S = X'X / (B - 1)",
        loss=lazy("cvfp_objectives.spectra:wmse"),
        options=(Option(name="epsilon", default=0.001, above=0, help="added to the variances before whitening; without "
                        "it, whitened contexts would be white whatever they are"),),
        cost="B d^2", unmoved_by=("order", "shift", "rotation"), source=f"{_STUDY}; after arXiv:2007.06346",
    )
    yield Objective(
        name="hsic",
        title="independence of pairs of dimensions, by a linear kernel",
        form="mean_{i != j} S_ij^2, S = X'X / (B - 1)",
        loss=lazy("cvfp_objectives.moments:hsic"), cost="B d^2", unmoved_by=("order", "shift"), source=_STUDY,
    )
    yield Objective(
        name="oacd",
        title="distance from a mean that is held near zero",
        form="-norm(X) / B + mean_weight * |m|^2",
        loss=lazy("cvfp_objectives.moments:oacd"),
        options=(Option(name="mean_weight", default=0.1, minimum=0, help="of the squared mean",
                        source="study of diversity terms"),),
        unmoved_by=("order", "rotation"), source=f"{_STUDY}; adopted later, with phase1.dist_reg_weight = 1",
    )


@hookimpl
def cvfp_endings() -> Iterable[Ending]:
    yield CONVERGED
    yield Ending(
        name="val-er",
        title="early stopping: the effective rank of the validation contexts rises no more",
        ends=lazy("cvfp_objectives.endings:no_better"),
        val_er_at=lazy("cvfp_objectives.endings:checked"),
        keeps=lazy("cvfp_objectives.endings:is_best"),
        options=(
            Option(name="every", default=5, minimum=1, unit="iterations", help="between two checks of Val ER",
                   source="study of diversity terms"),
            Option(name="patience", default=1, minimum=1, help="checks without a better Val ER after which it ends"),
            Option(name="contexts", default="best", choices=("best", "last"), help="which contexts Phase 2 takes: of "
                   "the check with the highest Val ER, or of the last iteration"),
        ),
        source=_STUDY,
    )
    yield Ending(
        name="fixed",
        title="phase1.max_iterations, whether contexts have converged or not",
        ends=lazy("cvfp_objectives.endings:all_done"),
    )
