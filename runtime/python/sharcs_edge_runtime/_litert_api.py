"""The C API of LiteRT as far as a session needs it, from the library inside the package ai-edge-litert.

Its own Python classes load a GPU and an NPU plugin beside the model, which costs 11 MB of private memory and 0.2 s, and
report all of that on the user's stderr. Through the C API an environment asks for the CPU alone and for errors alone.
What remains is one line of the XNNPACK delegate, which the library prints once per process and offers no way to stop.

Signatures and enumerations are those of litert/c/*.h at the versions in `VERSIONS`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from ctypes import POINTER, byref, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

from sharcs_edge_runtime.errors import ArtifactError, MissingDependencyError, SharcsEdgeError

VERSIONS: Final = ("2.3.",)
_CURE: Final = 'pip install "sharcs-edge-runtime[litert]"'

_CPU: Final = 1  # kLiteRtHwAcceleratorCpu
_ERRORS_ONLY: Final = 3  # LiteRtLogSeverity
_INTEGER: Final = 2  # kLiteRtAnyTypeInt
_TAG_ACCELERATORS: Final = 24  # kLiteRtEnvOptionTagAutoRegisterAccelerators
_TAG_SEVERITY: Final = 25  # kLiteRtEnvOptionTagMinLoggerSeverity
_TYPES: Final[Mapping[int, str]] = {1: "float32", 2: "int32", 4: "int64"}  # LiteRtElementType
_MAX_RANK: Final = 8
_IN_MEMORY: Final = ":memory"  # no file, but signatures share packed weights all the same

Side = Literal["Input", "Output"]


class _Any(ctypes.Structure):
    _fields_ = (("type", c_int), ("value", c_int64))


class _Option(ctypes.Structure):
    _fields_ = (("tag", c_int), ("value", _Any))


class _TensorType(ctypes.Structure):
    """LiteRtRankedTensorType; `rank` shares its byte with a flag."""

    _fields_ = (
        ("element", c_int32),
        ("rank", ctypes.c_uint32, 7),
        ("has_strides", ctypes.c_uint32, 1),
        ("sizes", c_int32 * _MAX_RANK),
        ("strides", ctypes.c_uint32 * _MAX_RANK),
    )


_ARGUMENTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "LiteRtCreateEnvironment": (c_int, POINTER(_Option), POINTER(c_void_p)),
    "LiteRtDestroyEnvironment": (c_void_p,),
    "LiteRtCreateModelFromFile": (c_void_p, c_char_p, POINTER(c_void_p)),
    "LiteRtDestroyModel": (c_void_p,),
    "LiteRtCreateOptions": (POINTER(c_void_p),),
    "LiteRtDestroyOptions": (c_void_p,),
    "LiteRtSetOptionsHardwareAccelerators": (c_void_p, c_int),
    "LiteRtCreateOpaqueOptions": (c_char_p, c_void_p, c_void_p, POINTER(c_void_p)),
    "LiteRtAddOpaqueOptions": (c_void_p, c_void_p),
    "LiteRtCreateCompiledModel": (c_void_p, c_void_p, c_void_p, POINTER(c_void_p)),
    "LiteRtDestroyCompiledModel": (c_void_p,),
    "LiteRtGetNumModelSignatures": (c_void_p, POINTER(c_size_t)),
    "LiteRtGetModelSignature": (c_void_p, c_size_t, POINTER(c_void_p)),
    "LiteRtGetSignatureKey": (c_void_p, POINTER(c_char_p)),
    **{
        name: arguments
        for side in ("Input", "Output")
        for name, arguments in (
            (f"LiteRtGetNumSignature{side}s", (c_void_p, POINTER(c_size_t))),
            (f"LiteRtGetSignature{side}Name", (c_void_p, c_size_t, POINTER(c_char_p))),
            (f"LiteRtGetSignature{side}TensorByIndex", (c_void_p, c_size_t, POINTER(c_void_p))),
            (f"LiteRtGetCompiledModel{side}BufferRequirements", (c_void_p, c_size_t, c_size_t, POINTER(c_void_p))),
        )
    },
    "LiteRtGetRankedTensorType": (c_void_p, POINTER(_TensorType)),
    "LiteRtCreateManagedTensorBufferFromRequirements": (c_void_p, POINTER(_TensorType), c_void_p, POINTER(c_void_p)),
    "LiteRtGetTensorBufferHostMemory": (c_void_p, POINTER(c_void_p)),
    "LiteRtDestroyTensorBuffer": (c_void_p,),
    "LiteRtRunCompiledModel": (c_void_p, c_size_t, c_size_t, POINTER(c_void_p), c_size_t, POINTER(c_void_p)),
}


class Tensor(NamedTuple):
    """A tensor of a signature, and where it comes among the signature's inputs or outputs."""

    place: int
    name: str
    dtype: str
    shape: tuple[int, ...]
    type: _TensorType


class Signature(NamedTuple):
    """An entry point of a file, and its place among them."""

    place: int
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


class Library:
    """The loaded library; every call that fails raises SharcsEdgeError."""

    def __init__(self) -> None:
        """Raises MissingDependencyError if ai-edge-litert is not installed, or in a version that is not known here."""
        try:
            self.version = version("ai-edge-litert")
        except PackageNotFoundError:
            raise MissingDependencyError(
                f"this artifact's graphs are TFLite and need ai-edge-litert: {_CURE}"
            ) from None
        if not self.version.startswith(VERSIONS):
            raise MissingDependencyError(
                f"ai-edge-litert {self.version} is installed, and this runtime knows {' and '.join(VERSIONS)}x: {_CURE}"
            )
        spec = find_spec("ai_edge_litert")
        folder = Path(next(iter((spec.submodule_search_locations if spec else None) or ("",))))
        names = ("libLiteRt.so", "libLiteRt.dylib", "libLiteRt.dll")
        file = next((folder / name for name in names if (folder / name).is_file()), folder / names[0])
        try:
            self._library = ctypes.CDLL(str(file))
            self._functions = {name: getattr(self._library, name) for name in _ARGUMENTS}
        except (OSError, AttributeError) as error:
            raise MissingDependencyError(
                f"ai-edge-litert {self.version} cannot be loaded ({error}): install it again, {_CURE}"
            ) from error
        for name, arguments in _ARGUMENTS.items():
            self._functions[name].argtypes = arguments
        self.run = self._functions["LiteRtRunCompiledModel"]

    def call(self, name: str, *arguments: Any) -> None:
        """A function that returns a status."""
        status = self._functions[name](*arguments)
        if status != 0:
            raise SharcsEdgeError(f"LiteRT {self.version}: {name} failed with status {status}")

    def get(self, name: str, *arguments: Any, kind: Any = c_void_p) -> Any:
        """The value of a function's last argument, a pointer to a ``kind``."""
        result = kind()
        self.call(name, *arguments, byref(result))
        return result if kind is _TensorType else result.value

    def destroy(self, kind: str, handle: int | None) -> None:
        """Releases an object of this API."""
        if handle is not None:
            self._functions[f"LiteRtDestroy{kind}"](handle)


class CompiledModel:
    """A file, compiled for the CPU. Not thread-safe."""

    def __init__(self, library: Library, file: Path, threads: int, weight_cache: Path | None) -> None:
        """`weight_cache`: file that is read if it is there, else written. Raises ArtifactError if LiteRT cannot."""
        self.library = library
        self._environment: int | None = None
        self._model: int | None = None
        self._compiled: int | None = None
        tags = (_Option * 2)(
            _Option(_TAG_SEVERITY, _Any(_INTEGER, _ERRORS_ONLY)), _Option(_TAG_ACCELERATORS, _Any(_INTEGER, _CPU))
        )
        try:
            self._environment = library.get("LiteRtCreateEnvironment", len(tags), tags)
            self._model = library.get("LiteRtCreateModelFromFile", self._environment, str(file).encode())
            options = _options(library, threads, weight_cache)
            try:
                self._compiled = library.get("LiteRtCreateCompiledModel", self._environment, self._model, options)
            finally:
                library.destroy("Options", options)
            self.signatures = dict(self._read_signature(place) for place in range(self._count_signatures()))
        except SharcsEdgeError as error:
            raise ArtifactError(f"{file} cannot be loaded ({error}): export the artifact again") from error

    def __del__(self) -> None:
        self.library.destroy("CompiledModel", self._compiled)
        self.library.destroy("Model", self._model)
        self.library.destroy("Environment", self._environment)

    def _count_signatures(self) -> int:
        count: int = self.library.get("LiteRtGetNumModelSignatures", self._model, kind=c_size_t)
        return count

    def _read_signature(self, place: int) -> tuple[str, Signature]:
        signature = self.library.get("LiteRtGetModelSignature", self._model, place)
        key = self.library.get("LiteRtGetSignatureKey", signature, kind=c_char_p).decode()
        return key, Signature(place, self._tensors(signature, "Input"), self._tensors(signature, "Output"))

    def _tensors(self, signature: int, side: Side) -> tuple[Tensor, ...]:
        get = self.library.get
        tensors = []
        for place in range(get(f"LiteRtGetNumSignature{side}s", signature, kind=c_size_t)):
            name = get(f"LiteRtGetSignature{side}Name", signature, place, kind=c_char_p).decode()
            tensor = get(f"LiteRtGetSignature{side}TensorByIndex", signature, place)
            kind = get("LiteRtGetRankedTensorType", tensor, kind=_TensorType)
            dtype = _TYPES.get(kind.element, f"type {kind.element}")
            tensors.append(Tensor(place, name, dtype, tuple(kind.sizes[: kind.rank]), kind))
        return tuple(tensors)

    def buffer(self, signature: Signature, side: Side, tensor: Tensor) -> Buffer:
        """New memory for one input or output."""
        requirements = self.library.get(
            f"LiteRtGetCompiledModel{side}BufferRequirements", self._compiled, signature.place, tensor.place
        )
        return Buffer(self, tensor, requirements)

    def run(self, signature: Signature, inputs: Any, outputs: Any) -> None:
        """`inputs`, `outputs`: ctypes arrays with the handles of one buffer per tensor, in order of place."""
        status = self.library.run(self._compiled, signature.place, len(inputs), inputs, len(outputs), outputs)
        if status != 0:
            raise SharcsEdgeError(f"LiteRT {self.library.version} failed with status {status}")


class Buffer:
    """Memory for one tensor, which a signature reads or writes in place. `array` is a view of it."""

    def __init__(self, model: CompiledModel, tensor: Tensor, requirements: int) -> None:
        import numpy as np

        library = self._library = model.library
        self._model = model  # its environment must outlive this
        self.handle: int = library.get(
            "LiteRtCreateManagedTensorBufferFromRequirements", model._environment, byref(tensor.type), requirements
        )
        address = library.get("LiteRtGetTensorBufferHostMemory", self.handle)
        dtype = np.dtype(tensor.dtype)
        size = int(np.prod(tensor.shape)) * dtype.itemsize
        memory = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
        self.array = memory.view(dtype).reshape(tensor.shape)

    def __del__(self) -> None:
        self._library.destroy("TensorBuffer", getattr(self, "handle", None))


def _options(library: Library, threads: int, weight_cache: Path | None) -> int:
    """How to compile: for the CPU, by XNNPACK with these settings."""
    settings = f'num_threads = {threads}\nweight_cache_file_path = "{weight_cache or _IN_MEMORY}"\n'
    options: int = library.get("LiteRtCreateOptions")
    try:
        library.call("LiteRtSetOptionsHardwareAccelerators", options, _CPU)
        # The options own the text and release it by the function that is given with it.
        c = ctypes.CDLL(None)
        c.strdup.restype = c_void_p
        payload = c.strdup(settings.encode())
        xnnpack = library.get("LiteRtCreateOpaqueOptions", b"xnnpack", payload, ctypes.cast(c.free, c_void_p))
        library.call("LiteRtAddOpaqueOptions", options, xnnpack)
    except BaseException:
        library.destroy("Options", options)
        raise
    return options
