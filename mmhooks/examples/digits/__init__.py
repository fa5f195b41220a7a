"""Handwritten digits: a data set, a model and a config, on real images and trained in seconds.

``configs/digits_cnn.py`` is an ordinary MMCV 1.x config; its ``custom_imports`` bring in `data` and `model`.
"""
