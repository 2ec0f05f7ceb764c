"""Executors by one word: "dask" for worker processes on this machine, "devices" for all of its GPUs in this process."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import os
from collections.abc import Sequence
from concurrent.futures import Executor
from typing import Any

from ..errors import NbdiffuseError, ParameterError, breaks_rule, nearest
from .remote import Devices, gpus

WORDS = ("dask", "devices")
MOST_WORKERS = 4
"""Workers without a GPU, at most: each holds weights of its own."""
_running: dict[str, Any] = {}


def named_executor(word: str) -> Executor:
    """Return the executor that a word stands for; the same one as long as it takes work.

    Parameters
    ----------
    word
        "dask": a process for each GPU of this machine, or several that share its cores. What a process that is lost
        had under way runs on another one. "devices": a thread for each GPU.

    Raises
    ------
    ParameterError
        There is no such word, or no GPU for "devices".
    NbdiffuseError
        Dask is not installed.
    """
    if word not in WORDS:
        rule = f"a concurrent.futures.Executor, or one of {', '.join(WORDS)}"
        near = nearest(word, WORDS)
        way_out = f"Did you mean {near!r}?" if near else "A Dask client gives an executor: client.get_executor()."
        raise ParameterError(breaks_rule("executor", rule, word, way_out))
    if word == "devices":
        if word not in _running:
            _running[word] = Devices()
        held: Executor = _running[word]
        return held
    client = _running.get(word)
    if client is None or client.status != "running":
        client = _running[word] = _client(workers(gpus(), _cores(), os.environ.get("CUDA_VISIBLE_DEVICES")))
        atexit.register(_close, client)
    executor: Executor = client.get_executor(pure=False)
    return executor


def workers(devices: Sequence[str], cores: int, visible: str | None = None) -> list[dict[str, str]]:
    """Return the environment of each worker process that a machine gets.

    Parameters
    ----------
    devices
        Its GPUs, as torch counts them.
    cores
        That may be used.
    visible
        `CUDA_VISIBLE_DEVICES` as it is here, which says what torch's numbers stand for.

    Returns
    -------
    list of dict
        With GPUs a worker for each, which sees that one alone; without, up to `MOST_WORKERS` that share the cores.
    """
    if devices:
        names = [name.strip() for name in visible.split(",")] if visible else [str(number) for number in range(len(devices))]
        return [{"CUDA_VISIBLE_DEVICES": name} for name in names[: len(devices)]]
    count = max(1, min(cores, MOST_WORKERS))
    threads = str(max(1, cores // count))
    return [{"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads} for _ in range(count)]


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _client(environments: Sequence[dict[str, str]]) -> Any:
    try:
        distributed = importlib.import_module("distributed")
    except ImportError:
        raise NbdiffuseError('Dask is not installed: pip install "nbdiffuse[dask]".') from None
    options = {"nthreads": 1, "memory_limit": None, "dashboard": False}
    specs = {
        place: {"cls": distributed.Nanny, "options": {**options, "env": environment}}
        for place, environment in enumerate(environments)
    }
    scheduler = {"cls": distributed.Scheduler, "options": {"host": "127.0.0.1", "dashboard": False}}
    before = dict(os.environ)
    try:
        cluster = distributed.SpecCluster(workers=specs, scheduler=scheduler, silence_logs=True)
        client = distributed.Client(cluster, set_as_default=False)
        client.wait_for_workers(len(specs), timeout=120)
        return client
    finally:
        # Dask tells its workers through this process's environment to take one thread each.
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _close(client: Any) -> None:
    with contextlib.suppress(Exception):
        cluster = client.cluster
        client.close(timeout=5)
        cluster.close(timeout=5)
