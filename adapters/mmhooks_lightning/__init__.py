"""The Lightning driver: MMCV-style hooks on a Lightning Trainer, with the numbers of the native runners."""

from mmhooks_lightning.callback import HookCallback
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.runner import LightningRunner

__all__ = ["HookCallback", "HookedModule", "LightningRunner"]
