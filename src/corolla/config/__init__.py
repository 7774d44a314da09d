"""The settings of a run: their fields, how they are read and written, named experiments, and what they need."""

from corolla.config.config import Config as Config
from corolla.config.config import as_options as as_options
from corolla.config.config import differing_settings as differing_settings
from corolla.config.config import flag as flag
from corolla.config.config import flatten as flatten
from corolla.config.config import from_dict as from_dict
from corolla.config.config import keys as keys
from corolla.config.config import to_dict as to_dict
from corolla.config.config import validate as validate
from corolla.config.fields import AugmentConfig as AugmentConfig
from corolla.config.fields import ModelConfig as ModelConfig
from corolla.config.fields import OptimConfig as OptimConfig
from corolla.config.fields import PipelineConfig as PipelineConfig
from corolla.config.fields import TrainConfig as TrainConfig
from corolla.config.reading import read_settings as read_settings
