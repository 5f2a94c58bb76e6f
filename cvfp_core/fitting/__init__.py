"""Laws fitted to records: fits, intervals, selection, extrapolation.

    records = cvfp_core.reading.read_records([...])
    fits = cvfp_core.fitting.fit_all(records, laws=["power-law", "saturating"])
"""

from cvfp_core.fitting.run import fit_all, fit_series
from cvfp_core.fitting.values import Estimate, Fit, Points

__all__ = ["Estimate", "Fit", "Points", "fit_all", "fit_series"]
