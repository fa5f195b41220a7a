"""MMCV's configs, read as data: nothing in a config is executed."""

from mmhooks.config.config import Config
from mmhooks.config.configdict import ConfigDict
from mmhooks.config.dict_action import DictAction
from mmhooks.config.files import ConfigFileNotFound
from mmhooks.config.merge import ConfigKeyError, ConfigTypeError
from mmhooks.config.options import parse_option

__all__ = [
    "Config",
    "ConfigDict",
    "ConfigFileNotFound",
    "ConfigKeyError",
    "ConfigTypeError",
    "DictAction",
    "parse_option",
]
