"""Files that try to run code, to fill the memory, or to lead out of their archive when they are read.

Whatever would run leaves a file in the folder ``canary``.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import torch


class Calls:
    """Is pickled as a call."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


class Name:
    """Is pickled as a name, importable here or not."""

    def __init__(self, module, name):
        self.module, self.name = module, name


class Pickler(pickle._Pickler):
    """The pickler of Python, which also writes a `Name`."""

    def save(self, obj, save_persistent_id=True):
        if isinstance(obj, Name):
            self.write(pickle.GLOBAL + f"{obj.module}\n{obj.name}\n".encode())
        elif isinstance(obj, Calls):
            function, args = obj.call
            self.save(function)
            self.save(args)
            self.write(pickle.REDUCE)
        else:
            super().save(obj, save_persistent_id)


def pickled(content, protocol=2):
    stream = io.BytesIO()
    Pickler(stream, protocol).dump(content)
    return stream.getvalue()


def archive(data, names=None, more=(), compression=zipfile.ZIP_STORED):
    """An archive like those of torch.save around a pickle."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as out:
        for name, body in {"a/data.pkl": data, "a/byteorder": b"little", "a/version": b"3\n", **dict(more)}.items():
            out.writestr((names or {}).get(name, name), body)
    return stream.getvalue()


def legacy(data):
    """The format before torch 1.6 around a pickle."""
    magic, system = torch.serialization.MAGIC_NUMBER, {"protocol_version": 1001, "little_endian": True}
    return b"".join([pickled(magic), pickled(1001), pickled(system), data, pickled([])])


PLACES = {
    "meta": lambda item: {"meta": {"epoch": 1, "iter": 1, "note": item}, "state_dict": {}},
    "weights": lambda item: {"meta": {}, "state_dict": OrderedDict(w=item)},
    "optimizer": lambda item: {"state_dict": {}, "optimizer": {"state": {0: {"step": item}}, "param_groups": []}},
    "messages": lambda item: {"meta": {"hook_msgs": {"best_ckpt": [item]}}, "state_dict": {}},
    "callbacks": lambda item: {"pytorch-lightning_version": "2.6", "state_dict": {}, "callbacks": {"x": {"y": item}}},
    "the whole file": lambda item: item,
}
FORMATS = {"zip": archive, "legacy": legacy}


def calls(canary):
    """What runs something when it is unpickled."""
    touch = f"touch {canary}/ran"
    code = f"open({str(canary / 'ran')!r}, 'w')"
    N, C = Name, Calls
    return {
        "os.system": C(N("os", "system"), touch),
        "posix.system": C(N("posix", "system"), touch),
        "nt.system": C(N("nt", "system"), touch),
        "os.popen": C(N("os", "popen"), touch),
        "os.execv": C(N("os", "execv"), "/bin/touch", ["touch", f"{canary}/ran"]),
        "subprocess.Popen": C(N("subprocess", "Popen"), ["touch", f"{canary}/ran"]),
        "subprocess.check_output": C(N("subprocess", "check_output"), ["touch", f"{canary}/ran"]),
        "pty.spawn": C(N("pty", "spawn"), ["touch", f"{canary}/ran"]),
        "eval": C(N("__builtin__", "eval"), code),
        "exec": C(N("builtins", "exec"), code),
        "import": C(N("builtins", "__import__"), "antigravity"),
        "open": C(N("builtins", "open"), f"{canary}/ran", "w"),
        "io.open": C(N("io", "open"), f"{canary}/ran", "w"),
        "getattr": C(C(N("builtins", "getattr"), N("pathlib", "Path"), "touch"), f"{canary}/ran"),
        "our getattr, called": C(C(N("builtins", "getattr"), "x", "touch"), f"{canary}/ran"),
        "a dotted name": C(N("pathlib", "Path.touch"), C(N("pathlib", "PosixPath"), f"{canary}/ran")),
        "pickle.loads": C(N("pickle", "loads"), pickle.dumps(1)),
        "_pickle.loads": C(N("_pickle", "loads"), pickled(C(N("builtins", "exec"), code))),
        "marshal.loads": C(N("marshal", "loads"), b"N"),
        "types.FunctionType": C(N("types", "FunctionType"), N("os", "system"), {}),
        "runpy.run_path": C(N("runpy", "run_path"), f"{canary}/../code.py"),
        "importlib": C(N("importlib", "import_module"), "antigravity"),
        "timeit": C(N("timeit", "timeit"), code),
        "functools.partial": C(C(N("functools", "partial"), N("os", "system"), touch)),
        "operator.methodcaller": C(C(N("operator", "methodcaller"), "system", touch), N("os", "path")),
        "ctypes": C(N("ctypes", "CDLL"), "libc.so.6"),
        "webbrowser": C(N("webbrowser", "open"), "http://localhost"),
        "shutil.rmtree": C(N("shutil", "rmtree"), str(canary)),
        "torch.load": C(N("torch", "load"), f"{canary}/../evil.pth"),
        "torch's loader of bytes": C(N("torch.storage", "_load_from_bytes"), b"x"),
        "torch.hub": C(N("torch.hub", "load"), str(canary), "model"),
        "torch's compiler": C(N("torch.utils.cpp_extension", "load_inline"), "x", code),
        "a module": C(N("torch.nn.modules.linear", "Linear"), 2, 2),
        "rebuilt from any type": C(
            N("torch._tensor", "_rebuild_from_type_v2"), N("os", "system"), N("torch", "Tensor"), (touch,), {}
        ),
        "numpy.load": C(N("numpy", "load"), f"{canary}/../evil.npy", None, True),
        "numpy's compiler": C(N("numpy.f2py", "compile"), b"x"),
        "a NumPy object": C(
            N("numpy.core.multiarray", "scalar"), C(N("numpy", "dtype"), "O8", False, True), b"12345678"
        ),
        "NumPy fields": C(N("numpy.core.multiarray", "scalar"), C(N("numpy", "dtype"), [("a", "O")]), b"12345678"),
        "an own class": C(N("torch_helpers_of_mine", "Config")),
        "lightning's loader": C(N("lightning.fabric.utilities.cloud_io", "_load"), f"{canary}/../evil.pth"),
        "mmengine's config": C(N("mmengine.config", "Config.fromfile"), f"{canary}/../code.py"),
    }


def raw(canary):
    """Pickles that no pickler writes, and archives that torch.save would not."""
    touch = f"touch {canary}/ran".encode()
    harmless = pickled({"state_dict": {}, "meta": {}})
    evil = pickled(Calls(Name("os", "system"), touch.decode()))
    text = b"X" + struct.pack("<I", len(touch)) + touch
    number = b"\x80\x02" + pickle.GLOBAL + b"numpy\ndtype\n" + pickled(("f8", False, True))[2:-1] + pickle.REDUCE
    flags = pickled((3, "<", None, ("a",), {"a": ("f8", 0)}, 8, 8, 63))[2:-1] + pickle.BUILD + pickle.STOP
    storage = ("storage", Name("torch", "FloatStorage"), "0", "cpu", 4)
    bomb = b"\0" * (64 << 20)
    return {
        "the operation INST": archive(b"(" + text + b"ios\nsystem\n."),
        "the operation OBJ": archive(b"(cos\nsystem\n" + text + b"o."),
        "the operation STACK_GLOBAL": archive(b"\x80\x04\x8c\x02os\x8c\x06system\x93" + text + b"\x85R."),
        "an extension": archive(b"\x80\x02\x82\x01" + text + b"\x85R."),
        "a persistent id": archive(b"\x80\x02" + evil[2:-1] + b"Q."),
        "flags of NumPy": archive(number + flags),
        "a list that is no list": archive(b"\x80\x02cos\nsystem\n(" + text + b"e."),
        "a key without end": archive(b"\x80\x02}" + b")" + b"\x85" * 10 + b"K\x01s" + b"\x85."),
        "a cut pickle": archive(evil[: len(evil) // 2]),
        "a memo without end": archive(b"\x80\x02}r\xff\xff\xff\x7f" + evil[2:]),
        "more bytes than there are": archive(b"\x80\x02X\xff\xff\xff\xffabc."),
        "a bytearray of petabytes": archive(pickled({"meta": Calls(Name("builtins", "bytearray"), 10**15)})),
        "bytes of petabytes": archive(pickled({"meta": Calls(Name("__builtin__", "bytes"), 10**15)})),
        "a tensor of petabytes": archive(pickled({"w": Calls(Name("torch", "FloatTensor"), 10**15)})),
        "a view beyond its storage": archive(_view(storage, (10**6,)), more={"a/data/0": bytes(16)}),
        "a storage beyond its bytes": archive(_view((*storage[:4], 10**9), (4,)), more={"a/data/0": bytes(16)}),
        "a storage that is not there": archive(_view(storage, (4,))),
        "a compressed bomb": archive(harmless, more={"a/data/0": bomb}, compression=zipfile.ZIP_DEFLATED),
        "a compressed pickle": archive(evil, compression=zipfile.ZIP_BZIP2),
        "a size that is not there": archive(harmless).replace(
            b"\x06\0\0\0\x06\0\0\0", b"\xf0\xff\xff\x7f\xf0\xff\xff\x7f"
        ),
        "parts on top of each other": _overlapping(harmless),
        "two pickles of one name": _twice(harmless, evil),
        "a way out": archive(harmless, more={"a/../../canary/ran": b"x"}),
        "an absolute way out": archive(harmless, more={f"{canary}/ran": b"x"}),
        "a way out of Windows": archive(harmless, more={"a/..\\..\\canary\\ran": b"x"}),
        "a drive": archive(harmless, more={"C:/canary/ran": b"x"}),
        "a pickle outside of the folder": archive(harmless, names={"a/data.pkl": "data.pkl"}),
        "a pickle in another folder": archive(harmless, names={"a/data.pkl": "b/data.pkl"}),
        "nothing but a name": archive(harmless, names={"a/data.pkl": "a/data.pk"}),
        "a program of TorchScript": archive(harmless, more={"a/constants.pkl": evil}),
        "an archive of tar": _tar(evil),
        "a pickle of today": pickle.dumps({"meta": 1}, 5) + evil,
        "an archive behind a pickle": evil + archive(harmless),
        "an archive behind a text": b"#!/bin/sh\n" + archive(harmless),
        "a legacy file that ends": legacy(evil)[:-40],
        "safetensors without an end": struct.pack("<Q", 1 << 40) + b"{}",
        "safetensors of petabytes": _safetensors(10**15),
        "safetensors that nest": struct.pack("<Q", 200_000) + b'{"a":' * 40_000,
    }


def _view(storage, shape):
    tensor = Calls(Name("torch._utils", "_rebuild_tensor_v2"), Stored(storage), 0, shape, (1,), False, OrderedDict())
    return _Persistent.dump({"state_dict": {"w": tensor}})


class Stored:
    def __init__(self, identity):
        self.identity = identity


class _Persistent(Pickler):
    def persistent_id(self, obj):
        return obj.identity if isinstance(obj, Stored) else None

    @classmethod
    def dump(cls, content):
        stream = io.BytesIO()
        pickle._Pickler.dump(cls(stream, 2), content)
        return stream.getvalue()


def _overlapping(data):
    body = archive(data, more={"a/data/0": b"x" * 64, "a/data/1": b"y" * 64})
    first, second = (body.rindex(name) - 4 for name in (b"a/data/0", b"a/data/1"))
    return body[:second] + body[first : first + 4] + body[second + 4 :]


def _twice(first, second):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as out:
        for name, data in (("a/data.pkl", first), ("b/data.pkl", second)):
            out.writestr(name, data)
    return stream.getvalue().replace(b"b/data.pkl", b"a/data.pkl")


def _tar(data):
    import tarfile

    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as out:
        for name in ("storages", "tensors", "pickle", "../canary/ran"):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
    return stream.getvalue()


def _safetensors(size):
    header = b'{"w":{"dtype":"F32","shape":[%d],"data_offsets":[0,%d]}}' % (size, size * 4)
    return struct.pack("<Q", len(header)) + header


def write(folder: Path, canary: Path) -> dict[str, Path]:
    """Write them all.

    Args:
        folder: where to.
        canary: the folder in which code that ran would leave a file.

    Returns:
        The files by what they try.
    """
    files = {}
    for index, (name, call) in enumerate(calls(canary).items()):
        place, put = list(PLACES.items())[index % len(PLACES)]
        for kind, wrap in FORMATS.items():
            files[f"{name} in {place}, {kind}"] = wrap(pickled(put(call)))
    files |= raw(canary)
    paths = {}
    for index, (name, data) in enumerate(files.items()):
        paths[name] = folder / f"{index}.pth"
        paths[name].write_bytes(data)
    (folder / "code.py").write_text(f"open({str(canary / 'ran')!r}, 'w')\n")
    return paths
