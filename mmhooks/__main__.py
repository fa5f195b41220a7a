"""``python -m mmhooks`` is the command ``mmhooks``."""

from mmhooks.cli import main

main()
