"""Style ``lightning``: a project of plain Lightning and torch, as near to MMCV as they come."""

from mmhooks_lightning.migration.plain.style import kept_checkpoints, momenta, project_files, rates, rows

__all__ = ["kept_checkpoints", "momenta", "project_files", "rates", "rows"]
