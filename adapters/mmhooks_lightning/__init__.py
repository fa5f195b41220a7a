"""The Lightning driver of mmhooks."""
