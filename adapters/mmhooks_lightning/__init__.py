"""The Lightning driver: MMCV-style hooks on a Lightning Trainer, with the numbers of the native runners."""

from mmhooks_lightning.callback import HookCallback
from mmhooks_lightning.module import HookedModule
from mmhooks_lightning.runner import LightningRunner
from mmhooks_lightning.wrapping import as_hook

__all__ = ["HookCallback", "HookedModule", "LightningRunner", "as_hook"]
