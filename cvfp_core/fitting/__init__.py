"""Laws fitted to records: fits, intervals, selection, extrapolation.

    records = cvfp_core.ingesting.reading.read_records([...])
    fits = cvfp_core.fitting.fit_all(records, laws=["power-law", "saturating"])
"""

from cvfp_core.fitting.auto import Forecast, choose_law, predict_all
from cvfp_core.fitting.averages import AVERAGE
from cvfp_core.fitting.predict import Prediction
from cvfp_core.fitting.run import fit_all, fit_series
from cvfp_core.fitting.selection import Candidate, Choice
from cvfp_core.fitting.sensitivity import Variation, sensitivity
from cvfp_core.schema.fits import Estimate, Fit, Points
from cvfp_core.schema.series import SERIES

__all__ = [
    "AVERAGE", "SERIES", "Candidate", "Choice", "Estimate", "Fit", "Forecast", "Points", "Prediction", "Variation",
    "choose_law", "fit_all", "fit_series", "predict_all", "sensitivity",
]
