"""Tuning: parameters of a pipeline, tried by a sampler that learns from what was tried.

`declared` is what authors write (`Tune`); `study` is Optuna, asked and told in memory; `running` puts every
trial on record as a run, in parallel, and goes on from what is on record. `app.tuning` joins it to processes.
"""

from varv.tuning.declared import Tune
from varv.tuning.running import Evaluate, Outcome, run_study
from varv.tuning.study import Study, Trial

__all__ = ["Evaluate", "Outcome", "Study", "Trial", "Tune", "run_study"]
