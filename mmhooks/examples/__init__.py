"""Small projects that travel in the wheel, laid out as a code base written for MMCV 1.x is."""
