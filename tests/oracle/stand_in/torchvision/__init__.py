"""Stands in for torchvision, of which MMCV reads the version and the list of models only."""

__version__ = "0.0"
