"""Latency of an artifact on a device that nobody has measured, from the device profile's facts.

The clock and the peak arithmetic of one core are the device's, the multiply-accumulates of every graph the manifest's.
How much of the peak ONNX Runtime reaches, and what it does besides, is assumed to be everywhere what it was on the one
machine where the constants below were fitted: an x86-64 core with VNNI at 3.5 GHz (peak 64 int8 and 16 float32 MACs per
cycle), one thread, onnxruntime 1.31, MiniLM-L6 in int8 and float32 at widths from 1/12 to 1 and 8 to 128 tokens. Of 60
graph runs there, nine in ten took 0.8 to 1.6 times their estimate, the worst (full width, 8 tokens) twice. No Arm board
was at hand: `ERROR_FACTOR` is a judgement. ncnn's published convolution benchmarks, of another library, reach 0.3 to
0.6 of these peaks on Cortex-A53 and Cortex-A72.
"""

from __future__ import annotations

from typing import Final

from sharcs_edge.device import DeviceProfile
from sharcs_edge.errors import DeviceError
from sharcs_edge_runtime.manifest import Graph, Manifest

ERROR_FACTOR: Final = 2.0
"""The true latency may be this many times shorter or longer."""
EFFICIENCY: Final = 0.6
"""Share of the peak that matrix products reach."""
ELEMENTWISE: Final = 60.0
"""Norms, residual sums, activations, quantizing and back: float32 MACs that fit into their time, per token, layer and
unit of the hidden size."""
LAYER_CYCLES: Final = 120_000.0
"""Calling the nodes of one layer, whatever the input."""
TOKEN_CYCLES: Final = 5_000.0
"""Tokenizing one token."""


class EstimatedLatency:
    """Milliseconds of the stages of one prediction, with one thread, on a device. `facts`: what is known of it."""

    def __init__(self, manifest: Manifest, device: DeviceProfile) -> None:
        """Raises DeviceError where the profile names no clock or no peak, as one of a class of machines does not."""
        clock = device.cores[0].max_mhz if device.cores else None
        if clock is None or device.peak is None:
            raise DeviceError(
                f'the profile "{device.name}" names no {"clock" if clock is None else "peak"} to estimate a latency '
                "from; measure on the device with `sharcs-edge profile ARTIFACT --save`, or give a profile of your own "
                "with [[cores]] and [peak]"
            )
        self.facts = (
            f"one {device.cores[0].part} at {clock} MHz with at most {device.peak.int8_macs_per_cycle:g} int8 or "
            f"{device.peak.float32_macs_per_cycle:g} float32 MACs per cycle"
        )
        self._cycles_per_ms = clock * 1000.0
        self._peak = device.peak
        self._manifest = manifest
        self._hidden_size = int(manifest.trunk.outputs[0].shape[-1])

    def tokenise_ms(self, tokens: float) -> float:
        """Tokenizing a text of this many tokens."""
        return TOKEN_CYCLES * tokens / self._cycles_per_ms

    def graph_ms(self, graph: Graph, tokens: float) -> float:
        """One run of the trunk or of a tail on one row without padding."""
        trunk_layers = self._manifest.trunk_layers
        layers = trunk_layers if graph.role == "trunk" else self._manifest.num_layers - trunk_layers
        layers += 1  # embeddings and router, or entry and head
        is_int8 = graph.quantization.recipe != "none"
        linear = graph.macs.per_row + graph.macs.per_token * tokens
        attention = graph.macs.per_token_squared * tokens**2  # between activations: float32 in every recipe
        float32 = self._peak.float32_macs_per_cycle
        cycles = linear / (self._peak.int8_macs_per_cycle if is_int8 else float32) / EFFICIENCY
        cycles += attention / float32 / EFFICIENCY
        cycles += ELEMENTWISE * tokens * layers * self._hidden_size / float32
        cycles += LAYER_CYCLES * layers
        return cycles / self._cycles_per_ms
