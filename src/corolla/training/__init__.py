"""Training: from a config and an index to a run's checkpoints and metrics."""

import sys
from types import ModuleType

# Where TensorFlow is installed (Kaggle's image), TensorBoard imports it for its file system alone: seconds, memory, and
# CUDA's noise before the workers are forked. A module of this name tells TensorBoard that there is none.
sys.modules.setdefault("tensorboard.compat.notf", ModuleType("tensorboard.compat.notf"))
