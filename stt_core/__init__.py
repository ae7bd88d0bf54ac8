"""The domain of the speech-to-text system: everything that is neither Dagster, HTTP nor terminal."""

import os

from stt_core.logged_calls import log_calls_of

# numpy's matrices are small here: OpenBLAS, which would start a thread a core, took 3.7 times the CPU for them, and
# more time. It reads this once, when numpy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

log_calls_of(__name__)
