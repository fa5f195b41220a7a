"""Reads hostile checkpoints in every way while an audit hook notes what is opened for writing, started or imported.

``python watch.py FOLDER`` prints JSON: for each file what each way of reading said, and what the hook saw.
"""

import json
import sys
import warnings
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent))
import hostile_files

from mmhooks.checkpoint import load_checkpoint, read_checkpoint
from mmhooks.checkpoint.convert import convert
from mmhooks.checkpoint.inspect import describe
from mmhooks.errors import MMHooksError

STARTS = ("os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "subprocess.", "pty.", "socket.", "shutil.")
CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.truncate")
RUNS = ("exec", "compile", "import", "ctypes.dlopen", "webbrowser.", "marshal.loads", "pickle.find_class")

WAYS = {
    "read": lambda file, folder: read_checkpoint(file),
    "load": lambda file, folder: load_checkpoint(nn.Linear(1, 1), file),
    "convert": lambda file, folder: convert(file, folder / "converted.pth"),
    "describe": lambda file, folder: describe(file),
}


def attempt(way, file, folder):
    try:
        WAYS[way](file, folder)
    except MMHooksError as error:
        return f"{type(error).__name__}: {error}"
    except BaseException as error:
        return f"not ours: {type(error).__name__}: {error}"
    return "read"


def main(folder):
    warnings.simplefilter("ignore")
    canary = folder / "canary"
    canary.mkdir()
    files = hostile_files.write(folder, canary)
    torch.save({"state_dict": {}, "meta": {}}, folder / "harmless.pth")
    # the first time modules are imported that the reading needs
    for file in (folder / "harmless.pth", *list(files.values())[:2], *files.values()):
        if file.name == "harmless.pth" or not watched:
            for way in WAYS:
                attempt(way, file, folder)
    (folder / "converted.pth").unlink(missing_ok=True)
    found = {}
    watched.append(None)
    for name, file in files.items():
        del watched[:]
        watched.append(None)
        said = {way: attempt(way, file, folder) for way in WAYS}
        found[name] = {"said": said, "seen": [event for event in watched if event], "ran": (canary / "ran").exists()}
        (canary / "ran").unlink(missing_ok=True)
    del watched[:]
    print(json.dumps({"files": found, "left": sorted(path.name for path in folder.iterdir() if path.suffix != ".pth")}))


watched: list = []


def hook(event, args):
    if not watched:
        return
    writes = event == "open" and isinstance(args[1], str) and set(args[1]) & set("wax+")
    if writes or event.startswith((*STARTS, *CHANGES, *RUNS)):
        watched.append(f"{event} {args!r:.200}")


if __name__ == "__main__":
    sys.addaudithook(hook)
    main(Path(sys.argv[1]))
