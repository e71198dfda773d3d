"""Artifacts on the processors of the boards: torch's answers, no more than they have, no more instructions."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

from benchmarks import instructions
from benchmarks.emulated.artifacts import LENGTHS
from benchmarks.emulated.counting import Count, count
from benchmarks.emulated.userland import Userland
from benchmarks.instructions import Case
from sharcs_edge.device import load_device
from sharcs_edge.export import ExportOptions
from sharcs_edge.export.run import export_bundle
from sharcs_edge_runtime.artifact import Artifact, file_reference
from sharcs_edge_runtime.manifest import MANIFEST_NAME, Manifest, Quantization
from tests.aarch64.conftest import Bench

CASES = instructions.cases()

# What downloads, and what takes one core, comes first: the other cores have the cases of `Bench` meanwhile.


@pytest.fixture(scope="session")
def blocked_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ONNX Runtime 1.21.0 for aarch64, which the profile rpi4 blocks."""
    folder = tmp_path_factory.mktemp("blocked")
    fetch = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
    fetch += ["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"]
    fetch += ["--platform", "manylinux_2_28_aarch64", "--platform", "manylinux_2_27_aarch64"]
    done = subprocess.run([*fetch, "--target", str(folder), "onnxruntime==1.21.0"], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"onnxruntime 1.21.0 for aarch64 could not be fetched: {done.stderr.strip().splitlines()[-1]}")
    return folder


def test_a_blocked_engine_is_a_sentence(bench: Bench, userland: Userland, blocked_engine: Path) -> None:
    assert load_device("rpi4").blocked_by("onnxruntime", "1.21.0") is not None
    verify = ("-m", "sharcs_edge_runtime.verify", bench.artifacts["rpi4", "onnx"])
    ended = userland.run("cortex-a72", *verify, packages=blocked_engine)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "EngineError: onnxruntime 1.21.0 does not run on Cortex-A72: loading it executes an instruction that it does "
        "not have (SIGILL); install another version with `python3 -m pip install 'onnxruntime!=1.21.0'`\n"
    )
    assert userland.run("cortex-a76", *verify, packages=blocked_engine).returncode == 0


def beyond(counts: dict[str, Count], manifest: Manifest, *, has_dotprod: bool) -> list[str]:
    """What shows that an int8 artifact needs a processor with dot product: a sentence per graph and length.

    Either it runs such instructions, or its integers are a kernel's that exists with dot product alone: without one,
    the engine unpacks the weights and multiplies floats, which no answer shows.
    """
    found = []
    for graph in manifest.graphs:
        for tokens in LENGTHS:
            counted = counts[f"{graph.name} {tokens}"]
            linear = graph.macs.per_token * tokens  # what is quantized; attention between tokens is not
            if counted.extensions and not has_dotprod:
                found.append(f"{graph.name}, {tokens} tokens: {counted.extensions} dot product instructions")
            if graph.quantization.recipe == "int8_dynamic" and counted.products < linear:
                found.append(f"{graph.name}, {tokens} tokens: {counted.products} of {linear} products of integers")
    return found


@pytest.fixture(scope="session")
def needs_dotprod(bundle: Path) -> Path:
    """A wrong artifact for the Raspberry Pi 4: its weights are in blocks of 4 bits (MatMulNBits)."""
    options = ExportOptions("rpi4", quantization="none", widths=(1.0,))
    folder = export_bundle(bundle, bundle.with_name("wrong"), options).artifact
    manifest = Manifest.parse((folder / MANIFEST_NAME).read_bytes())
    graphs = []
    for graph in manifest.graphs:
        quantizer = MatMulNBitsQuantizer(
            onnx.load(folder / graph.file), block_size=32, is_symmetric=True, accuracy_level=4
        )
        quantizer.process()
        onnx.save(quantizer.model.model, folder / graph.file)
        written = file_reference(folder / graph.file)
        quantization = Quantization("int8_dynamic", 1.0)
        graphs.append(dataclasses.replace(graph, sha256=written.sha256, bytes=written.bytes, quantization=quantization))
    (folder / MANIFEST_NAME).write_bytes(dataclasses.replace(manifest, graphs=tuple(graphs)).to_json())
    return folder


def test_an_artifact_that_needs_dot_product_is_caught(userland: Userland, plugin: Path, needs_dotprod: Path) -> None:
    manifest = Artifact.open(needs_dotprod).manifest
    here = beyond(count(userland, plugin, "cortex-a72", needs_dotprod, LENGTHS), manifest, has_dotprod=False)
    there = beyond(count(userland, plugin, "cortex-a76", needs_dotprod, LENGTHS), manifest, has_dotprod=True)
    assert [line.split(":")[1].split(" of ")[0].strip() for line in here] == ["0"] * len(LENGTHS) * 2
    assert there == []


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answers_and_routes_are_torchs(bench: Bench, case: Case) -> None:
    ended = bench.verified(case)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["passed"]
    assert report["engine"].split() == [case.engine.split()[0].replace("ai-edge-", ""), case.engine.split()[1]]
    assert {check["label_agreement"] for check in report["widths"]} == {1.0}
    assert {check["agreement"] for check in report["routes"]} == {1.0}
    assert report["tokenization_agreement"] == 1.0


@pytest.mark.parametrize("case", CASES, ids=str)
def test_needs_no_more_than_the_processor_has(bench: Bench, case: Case) -> None:
    counts = bench.counted(case)
    manifest = Artifact.open(bench.artifacts[case.target, case.backend]).manifest
    assert beyond(counts, manifest, has_dotprod=case.cpu == "cortex-a76") == []
    assert all(bool(one.extensions) == (case.cpu == "cortex-a76") for one in counts.values())


def test_dot_product_instructions_on_a_processor_without_them_are_caught(bench: Bench) -> None:
    case = next(case for case in CASES if case.cpu == "cortex-a76")
    manifest = Artifact.open(bench.artifacts[case.target, case.backend]).manifest
    found = beyond(bench.counted(case), manifest, has_dotprod=False)
    assert len(found) == len(manifest.graphs) * len(LENGTHS)
    assert all("dot product instructions" in line for line in found)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_instructions_are_within_the_budget(bench: Bench, case: Case) -> None:
    budget = instructions.read_budget(instructions.BUDGET, case)
    rows = instructions.compare(bench.counted(case), budget, case)
    print(instructions.table({case: rows}))
    instructions.check(rows, case)
