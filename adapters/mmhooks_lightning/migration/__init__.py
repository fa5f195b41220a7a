"""The road from an MMCV 1.x config to a Lightning project: `mmhooks_lightning.migrate`, and ``mmhooks migrate``."""
