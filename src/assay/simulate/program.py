"""The kernel's machine code: compiled once, kept on disk, and loaded without the compiler, whose import takes longer than most runs.

The code is kept in the user's cache folder under a name that says what it depends on: its sources, the versions of the compilers, and
the processor. It is called with addresses, allocates nothing, and never raises.
"""

import contextlib
import ctypes
import hashlib
import os
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm

SOURCES = ("kernel.py", "access.py", "layout.py", "policies.py", "records.py", "program.py")
Program = Callable[[int, int], int]


@cache
def program() -> Program:
    """The kernel's `serve`, compiled for this processor; other Python threads run while it does."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    file = _file()
    try:
        code = file.read_bytes()
    except OSError:
        code = _compiled()
        _keep(code, file)
    return _linked(code)


def _file() -> Path:
    here = Path(__file__).parent
    parts = [*((here / name).read_bytes() for name in SOURCES), *(version(name).encode() for name in ("numba", "llvmlite"))]
    parts += [llvm.get_host_cpu_name().encode(), llvm.get_host_cpu_features().flatten().encode()]
    name = hashlib.blake2b(b"\0".join(parts), digest_size=16).hexdigest()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "assay" / f"kernel-{name}.o"


def _compiled() -> bytes:
    """The name of the entry, a line end, and the object file."""
    from numba import cfunc, types

    from assay.simulate import kernel

    make: Any = cfunc(types.int64(types.int64, types.int64), error_model="numpy")
    made = make(kernel.serve_compiled())
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        reloc="default",
        codemodel="jitdefault",
        jit=True,
    )
    module = llvm.parse_assembly(made.inspect_llvm())
    return bytes(made.native_name.encode() + b"\n" + machine.emit_object(module))


def _keep(code: bytes, file: Path) -> None:
    """Write the file whole or not at all; where it cannot be written the next process compiles again."""
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent)
        with os.fdopen(handle, "wb") as draft:
            draft.write(code)
        Path(name).replace(file)


_ENGINES: list[llvm.ExecutionEngine] = []  # machine code lives as long as its engine


def _linked(code: bytes) -> Program:
    name, _, machine_code = code.partition(b"\n")
    refuse = ctypes.cast(ctypes.CDLL(None).abort, ctypes.c_void_p).value
    for symbol in _NEVER_CALLED:
        llvm.add_symbol(symbol, refuse)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), llvm.Target.from_default_triple().create_target_machine(jit=True))
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    _ENGINES.append(engine)
    return ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(engine.get_function_address(name.decode()))


# What the compiler's checks would call; no check fails, since the kernel raises nothing and owns no memory.
_NEVER_CALLED = (
    "NRT_Free",
    "NRT_MemInfo_call_dtor",
    "numba_do_raise",
    "numba_gil_ensure",
    "numba_gil_release",
    "numba_runtime_build_excinfo_struct",
    "numba_unpickle",
)
