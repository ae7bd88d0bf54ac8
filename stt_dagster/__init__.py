"""The orchestration: resources, ops, graph, jobs, sensors. Thin: each op and sensor calls one core function."""

import warnings

from stt_core.logged_calls import log_calls_of

# Dagster's own sensor decorators pass a parameter that Dagster calls beta; every process would say so.
warnings.filterwarnings("ignore", message="Parameter `owners` of initializer `SensorDefinition")
# The UI of this version shows them; what may change is the name of a parameter, and Dagster's version is pinned.
warnings.filterwarnings("ignore", message="Specifying a partitions_def on an AssetCheckSpec")

log_calls_of(__name__)
