"""To be imported before mmcv: it can be, afterwards."""

import real_mmcv

if not real_mmcv.join():
    raise ImportError("mmcv is not there: see make mmcv")
