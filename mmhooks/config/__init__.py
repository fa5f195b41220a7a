"""MMCV's `.py` configs, read as data: nothing in a config is executed."""

from mmhooks.config.config import Config
from mmhooks.config.configdict import ConfigDict
from mmhooks.config.files import ConfigFileNotFound
from mmhooks.config.options import parse_option

__all__ = ["Config", "ConfigDict", "ConfigFileNotFound", "parse_option"]
