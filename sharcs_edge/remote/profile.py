"""`sharcs_edge_runtime.profile` on a device somewhere else: what it needs goes there, its record comes back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, Final

from sharcs_edge.device import DeviceProfile, load_device
from sharcs_edge.errors import DeviceError, UsageError
from sharcs_edge.remote.bare import connect_bare
from sharcs_edge.remote.device import Device, Ended, connect
from sharcs_edge.remote.link import Link, Talk
from sharcs_edge.remote.packages import Site, engine_site, requirements, runtime_site, unmet
from sharcs_edge.remote.runner import PROGRAM, Runner
from sharcs_edge.remote.transport import RemoteError, Transport, stopped
from sharcs_edge_runtime.artifact import Artifact, file_sha256
from sharcs_edge_runtime.budget import Budget
from sharcs_edge_runtime.fingerprint import UNAVAILABLE
from sharcs_edge_runtime.manifest import MANIFEST_NAME
from sharcs_edge_runtime.profile import Plan, Settings, Texts

_ATTACHED: Final = ("operating_points.json", "latency.json")
_MACHINES: Final = {"armv8": ("aarch64", "arm64"), "armv9": ("aarch64", "arm64"), "x86-64": ("x86_64", "amd64")}
_OPTIONS: Final = {"max_wait_seconds": "--max-wait"}  # the others are named like their field


@dataclass(frozen=True)
class Job:
    """What to measure: an artifact, the user's texts (None: its golden ones), how, and within which budget.

    `runner`: the folder with the C tools that measure; None: Python does.
    """

    artifact: Path
    texts: Texts | None
    settings: Settings
    budget: Budget
    runner: Path | None = None


def profile_remote(transport: Transport, job: Job, talk: Talk = lambda message: None) -> dict[str, Any]:
    """The record of `sharcs_edge_runtime.profile.profile`, measured on the device.

    It names the device as the user wrote it in ``remote``. Raises RemoteError for what is wrong with the device, and
    UsageError for an artifact that was exported for machines of another kind.
    """
    artifact = Artifact.open(job.artifact)
    target = _target(artifact)
    measure = _measure_python if job.runner is None else _measure_bare
    record = measure(transport, artifact, target, job, talk)
    record["artifact"]["name"] = artifact.path.name
    if job.texts is not None:
        record["texts"]["source"] = job.texts.source
    return {**record, "remote": transport.name}


def _measure_python(
    transport: Transport, artifact: Artifact, target: DeviceProfile | None, job: Job, talk: Talk
) -> dict[str, Any]:
    talk(f"connecting to {transport.name}")
    with connect(transport, talk) as device:
        talk(f"{transport.name}: {device.facts}")
        _check_machine(artifact, target, device.name, device.facts.machine)
        _check_features(target, device.name, device.fingerprint()["features"])
        sites = _sites(artifact, target, device, talk)
        device.install(sites)
        hashes = _send(device, {f"artifact/{path.name}": path for path in _files(artifact)})
        contents = _contents(job)
        arguments = ["-m", "sharcs_edge_runtime.profile", "artifact", *_arguments(job, contents)]
        ended = device.python(arguments, sites, hashes, contents)
    return _record(device.name, ended)


def _measure_bare(
    transport: Transport, artifact: Artifact, target: DeviceProfile | None, job: Job, talk: Talk
) -> dict[str, Any]:
    from sharcs_edge.remote.bare_profile import measure, read_features

    assert job.runner is not None
    if artifact.manifest.backend != "onnx":
        raise UsageError(
            f"{artifact.path.name} holds {artifact.manifest.backend} graphs, and the C tools run onnx ones: export it "
            "with --backend onnx, or leave --runner out"
        )
    runner = Runner.open(job.runner)
    plan = Plan.make(artifact, job.texts, job.settings)
    talk(f"connecting to {transport.name}")
    with connect_bare(transport, talk) as device:
        talk(f"{transport.name}: {device.facts}")
        runner.require(device.name, device.facts.machine)
        _check_machine(artifact, target, device.name, device.facts.machine)
        files = {f"artifact/{path.name}": path for path in _files(artifact)}
        device.place(_send(device, {**runner.files, **files}))
        start = partial(device.start, PROGRAM, "artifact", "--steps", "--onnxruntime", f"./{runner.engine}")
        _check_features(target, device.name, read_features(start))
        return measure(device, start, plan, job.budget, talk)


def _send(device: Link, files: Mapping[str, Path]) -> dict[str, str]:
    """The SHA-256 of each of `files` (path there: path here), all of which the device has then."""
    hashes = {name: file_sha256(path) for name, path in files.items()}
    device.send({hashes[name]: path for name, path in files.items()})
    return hashes


def _target(artifact: Artifact) -> DeviceProfile | None:
    try:
        return load_device(artifact.manifest.target)
    except DeviceError:  # a profile of the user who exported it
        return None


def _check_machine(artifact: Artifact, target: DeviceProfile | None, name: str, machine: str) -> None:
    machines = () if target is None else next((m for p, m in _MACHINES.items() if target.isa.base.startswith(p)), ())
    if machines and machine.lower() not in machines:
        raise UsageError(
            f"{artifact.path.name} was exported for {artifact.manifest.target} ({machines[0]}), and {name} is "
            f"{machine}: export it again with the --target of that device (`sharcs-edge devices list`)"
        )


def _check_features(target: DeviceProfile | None, name: str, found: Sequence[str] | str) -> None:
    if target is None:
        return
    missing = [] if found == UNAVAILABLE else [each for each in target.isa.features if each not in found]
    if missing:
        raise UsageError(
            f"the artifact was exported for {target.name}, whose CPU has {', '.join(missing)}, which that of "
            f"{name} has not: export it again with the --target of that device (`sharcs-edge devices list`)"
        )


def _sites(artifact: Artifact, target: DeviceProfile | None, device: Device, talk: Talk) -> list[Site]:
    needed = requirements(artifact.manifest.backend, device.facts.python)
    missing = unmet(needed, device.facts.packages, target)
    if not missing:
        return [runtime_site()]
    talk(f"{device.name} has not got {', '.join(missing)}: fetching them here")
    return [runtime_site(), engine_site(needed, device.facts, target)]


def _files(artifact: Artifact) -> list[Path]:
    named = [artifact.file(MANIFEST_NAME), *map(artifact.file, artifact.manifest.all_files)]
    return [*named, *(path for path in map(artifact.file, _ATTACHED) if path.is_file())]


def _contents(job: Job) -> dict[str, str]:
    """The files that only this run needs, by name."""
    contents = {}
    if job.texts is not None:
        pairs = (
            {"text": text} if isinstance(text, str) else dict(zip(("text", "text_pair"), text, strict=True))
            for text in job.texts.texts
        )
        contents["texts.jsonl"] = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in pairs)
    if job.budget != Budget():
        contents["budget.toml"] = budget_toml(job.budget)
    return contents


def _arguments(job: Job, contents: Mapping[str, str]) -> list[str]:
    """The command line of the profiler on the device; its options are the fields of `Settings`."""
    words = []
    for field in fields(job.settings):
        value = getattr(job.settings, field.name)
        if value is not None:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words += [_OPTIONS.get(field.name, f"--{field.name.replace('_', '-')}"), text]
    words += ["--data", "texts.jsonl"] if "texts.jsonl" in contents else []
    return [*words, *(["--budget", "budget.toml"] if "budget.toml" in contents else [])]


def budget_toml(budget: Budget) -> str:
    """The file that `Budget.load` reads back as the same budget."""
    values = asdict(budget)
    rules = values.pop("when")
    return _toml_table(values) + "".join(f"[[when]]\n{_toml_table(rule)}" for rule in rules)


def _toml_table(values: Mapping[str, Any]) -> str:
    # The numbers and flags of a budget are written alike in TOML and JSON.
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items() if value is not None)


def _record(name: str, ended: Ended) -> dict[str, Any]:
    """What the profiler printed, or its failure in its own words."""
    if ended.returncode == 0:
        record: dict[str, Any] = json.loads(ended.stdout)
        return record
    if ended.returncode < 0:
        raise stopped("the profiler", name, -ended.returncode)
    kind, _, sentence = ended.last_words.partition(": ")
    said = sentence if kind.isidentifier() and sentence else ended.last_words or f"exit code {ended.returncode}"
    error = UsageError if ended.returncode == UsageError.exit_code else RemoteError
    raise error(f"on {name}: {said}")
