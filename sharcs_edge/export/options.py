"""What the caller of an export may choose."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal, cast, get_args

from sharcs_edge.data import Columns
from sharcs_edge.device import DeviceProfile, EmbeddingType, Layout, Preset
from sharcs_edge.errors import UsageError
from sharcs_edge.export.optimum_config import OptimumQuantization, read_quantization

QuantizationRecipe = Literal["none", "int8_dynamic", "int8_static"]


@dataclass(frozen=True)
class ExportOptions:
    """Choices for one export; what is left out follows the target's preset or the bundle.

    ``target``: name of a device profile. ``widths``: some of the bundle's widths, all of them if left out. ``backend``:
    an exporter's name. ``quantization``, ``embeddings``, ``layout``: instead of what the target's preset says; without
    quantization the embeddings are float32, too, unless named. ``trim_vocab``: a file of texts, read by ``columns``,
    whose tokens the vocabulary is trimmed to; all tokens are kept if left out. ``calibration_data``: a file of texts,
    read by ``columns``, that the scales of activations are taken from; for ``int8_static`` alone, which needs it.
    """

    target: str
    widths: tuple[float, ...] | None = None
    backend: str = "onnx"
    quantization: QuantizationRecipe | OptimumQuantization | None = None
    embeddings: EmbeddingType | None = None
    layout: Layout | None = None
    trim_vocab: str | None = None
    columns: Columns = field(default_factory=lambda: Columns(label=None))
    calibration_data: str | None = None

    def preset(self, device: DeviceProfile) -> Preset:
        """The device's preset for the backend, as these choices change it. DeviceError where the device has none."""
        preset = device.preset(self.backend)
        if isinstance(self.quantization, OptimumQuantization):
            asked = asdict(self.quantization)
            preset = replace(preset, quantization="int8_dynamic", source=f"Optimum: {asked.pop('name')}", **asked)
        elif self.quantization is not None:
            preset = replace(preset, quantization=self.quantization)
        embeddings = self.embeddings or ("float32" if self.quantization == "none" else preset.embeddings)
        preset = replace(preset, embeddings=embeddings, layout=self.layout or preset.layout)
        return preset


def parse_quantization(value: str) -> QuantizationRecipe | OptimumQuantization:
    """What ``--quantization`` names: a recipe, or a file with a configuration of Hugging Face Optimum.

    Raises UsageError for what is neither, and for a configuration that cannot be followed.
    """
    recipes = get_args(QuantizationRecipe)
    if value in recipes:
        return cast(QuantizationRecipe, value)
    if not Path(value).exists():
        raise UsageError(f"--quantization is {value!r}; expected {', '.join(recipes)} or a file that exists")
    return read_quantization(Path(value))
