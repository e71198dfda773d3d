"""Who owns threads: counted in processes of their own, since a pool of the process cannot be undone."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import onnxruntime
import pytest

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads through /proc")
shares_pool = pytest.mark.skipif(
    not hasattr(onnxruntime, "set_global_thread_pool_sizes"), reason="this onnxruntime cannot share a pool"
)

COUNT = """
import sys
from pathlib import Path
import numpy, onnxruntime, tokenizers
from sharcs_edge_runtime import Session, share_thread_pool
from sharcs_edge_runtime.errors import UsageError

def tasks():
    return len(list(Path("/proc/self/task").iterdir()))

artifact = sys.argv[1]
before = tasks()
"""


def run(program: str, artifact: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COUNT + textwrap.dedent(program), str(artifact)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_one_thread_starts_none(tiny_artifact: Path) -> None:
    program = """
        sessions = [Session.load(artifact) for _ in range(3)]
        for session in sessions:
            session.predict_batch(["turn on the light", "play some music"] * 20)
        print(tasks() - before)
    """
    assert run(program, tiny_artifact) == "0\n"


@shares_pool
def test_a_shared_pool_is_one_for_all_graphs_and_sessions(tiny_artifact: Path) -> None:
    program = """
        share_thread_pool(3)
        first, second = Session.load(artifact, threads=3), Session.load(artifact)
        print(first.predict("turn on the light").label == second.predict("turn on the light").label)
        print(tasks() - before, first.thread_pool, second.thread_pool)
    """
    assert run(program, tiny_artifact) == "True\n2 process process\n"


@shares_pool
def test_a_pool_that_the_program_made_itself_is_used(tiny_artifact: Path) -> None:
    program = """
        onnxruntime.set_global_thread_pool_sizes(2, 1)
        session = Session.load(artifact)
        session.predict("turn on the light")
        print(tasks() - before, session.thread_pool)
    """
    assert run(program, tiny_artifact) == "1 process\n"


@shares_pool
def test_the_process_pool_is_made_once(tiny_artifact: Path) -> None:
    program = """
        share_thread_pool(2)
        try:
            share_thread_pool(3)
        except UsageError as error:
            print(error)
        try:
            share_thread_pool(0)
        except UsageError as error:
            print(error)
    """
    once, zero = run(program, tiny_artifact).splitlines()
    assert once.startswith("onnxruntime refused a pool of 3 threads for the process (")
    assert once.endswith("call share_thread_pool once, at the start of the program")
    assert zero == "threads is 0; expected an integer of at least 1"


def test_own_threads_sleep_and_touch_nobody_else(tiny_artifact: Path) -> None:
    program = """
        import time
        session = Session.load(artifact, threads=3)
        tokens = session.encode(["turn on the light", "play some music"] * 300)  # enough rows to wake the workers
        session.run_trunk(tokens)
        start = time.process_time()
        for _ in range(30):
            session.run_trunk(tokens)
            time.sleep(0.03)
        print(time.process_time() - start < 0.25)  # spinning workers burn most of the 0.9 s
        print(tasks() - before, session.thread_pool)
        # Another library's session, with its own settings, still loads: nothing of the process was changed.
        onnxruntime.InferenceSession(f"{artifact}/trunk.onnx", providers=["CPUExecutionProvider"])
    """
    # two workers for each of the four graphs, asleep
    assert run(program, tiny_artifact) == "True\n8 own\n"
