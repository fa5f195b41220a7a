"""Runs that are cut."""

from mmhooks import Hook


class Cut(Exception):
    pass


class SaveAndCut(Hook):
    """Saves at a point of an iteration, and ends the process, so to speak."""

    def __init__(self, point, at):
        self.at = at
        setattr(self, point, self.cut)

    def cut(self, runner):
        if runner.iter >= self.at:
            runner.save_checkpoint(runner.work_dir, "cut.pth", create_symlink=False)
            raise Cut
