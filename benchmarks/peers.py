"""How fast Assay serves a request trace beside other simulators of LLM serving that are installed here: speeds, not accuracy.

    python benchmarks/peers.py [REQUESTS]

All serve the same requests on one replica, under the same limits of tokens and sequences per step and of cache where they take them.
A speed is the median of some runs of the simulator alone, in turns: without imports, compilation and conversion of the requests.
"""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from assay import Chip, Deployment, Model, Workload, __version__, api
from assay.search.plant import Plant
from assay.simulate import Fleet, run

RATE = 9.0  # requests/s, about half of what this model on this chip can serve: see benchmarks/run.py
RUNS = 5
HASHED = 512  # tokens per content hash in the trace that the replay reads
BLOCK = 64  # tokens per cache block of the replay: its own default

Start = Callable[[], Callable[[], int]]
"""Makes a run from the start; the run tells how many requests were served."""


@dataclass(frozen=True)
class Peer:
    """A simulator by its name in the package registry and the version that this script was tried with; `prepare` imports it."""

    package: str
    tried: str
    told: str
    prepare: Callable[[Workload, Path], Start]


@cache
def plant() -> Plant:
    """What Assay simulates, with its step times."""
    return api.plan_one(Model.load("llama-3.1-8b"), Deployment.of(Chip.load("h100-sxm")))


def assay_seconds(workload: Workload) -> float:
    """Seconds of Assay's compiled simulator."""
    fleet = Fleet.of(plant().times, plant().policy)
    return timed(lambda: int(run(workload, fleet).served.sum()), workload)


def timed(serve: Callable[[], int], workload: Workload) -> float:
    """Seconds of one run, which has to serve every request."""
    start = time.perf_counter()
    served = serve()
    seconds = time.perf_counter() - start
    if served != workload.requests:
        raise SystemExit(f"only {served} of {workload.requests} requests were served")
    return seconds


def requests(workload: Workload) -> list[tuple[float, int, int]]:
    """Arrival in seconds, prompt tokens and output tokens of each request."""
    return list(zip(workload.arrival.tolist(), workload.input.tolist(), workload.output.tolist(), strict=True))


def replay(workload: Workload, folder: Path) -> Start:
    """Compiled; it reads the requests from a file, which is part of its time."""
    os.environ["DYNAMO_SKIP_PYTHON_LOG_INIT"] = "1"
    serve, engine = import_module("dynamo.replay").run_trace_replay, import_module("dynamo.mocker").MockEngineArgs
    path, blocks = folder / "trace.jsonl", 0
    with path.open("w") as lines:
        for arrival, prompt, output in requests(workload):
            ids = list(range(blocks, blocks - (-prompt // HASHED)))  # nobody shares a prefix
            blocks += len(ids)
            lines.write(json.dumps({"timestamp": arrival * 1e3, "input_length": prompt, "output_length": output, "hash_ids": ids}) + "\n")
    policy = plant().policy
    limits = {"max_num_seqs": policy.max_num_seqs, "max_num_batched_tokens": policy.token_budget, "enable_prefix_caching": False}
    replica = engine(num_gpu_blocks=int(policy.kv_capacity // policy.footprint(BLOCK)), block_size=BLOCK, **limits)
    return lambda: lambda: int(serve(str(path), extra_engine_args=replica, trace_block_size=HASHED)["completed_requests"])


def schedulers(workload: Workload, _: Path) -> Start:
    """Plain Python; its H100 has a larger model, so the 8B one of its A100 is put there."""
    engine, presets = import_module("sched_sim.core.event_engine"), import_module("sched_sim.hardware.presets").PRESETS
    create, request = import_module("sched_sim.schedulers.factory").create_scheduler, import_module("sched_sim.core.request").Request
    of_model = ("model_name", "parameter_count_billions", "num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_dim")
    chip = presets["h100"].model_copy(update={name: getattr(presets["a100"], name) for name in of_model})
    limits = {"token_budget": plant().policy.token_budget, "max_batch_size": plant().policy.max_num_seqs}

    def start() -> Callable[[], int]:
        names = ("arrived_at", "prompt_tokens", "output_tokens")
        asked = [request(request_id=str(index), **dict(zip(names, one, strict=True))) for index, one in enumerate(requests(workload))]
        simulator = engine.Simulator(chip, create("chunked", chip, **limits))
        simulator.submit_workload(asked)
        return lambda: int(simulator.run().completed_requests)

    return start


def queues(workload: Workload, _: Path) -> Start:
    """Plain Python; how long a request takes is fixed when it starts."""
    sim = import_module("fleet_sim")
    config = sim.ServingConfig(chunk=plant().policy.token_budget, max_slots=plant().policy.max_num_seqs)
    longest = int((workload.input + workload.output).max())
    pool = sim.PoolConfig("all", sim.ProfileBuilder().build(sim.H100_SXM, sim.LLAMA_3_1_8B, config), 1, longest)

    def start() -> Callable[[], int]:
        asked = [(one[0], sim.Request(index, *one)) for index, one in enumerate(requests(workload))]
        fleet = sim.Fleet(sim.FleetConfig([pool], router_type="LeastLoadedRouter"))
        return lambda: len(fleet.run(asked).completed)

    return start


PEERS = (
    Peer("ai-dynamo", "1.4.2", "every step; its generic polynomial of step times, of no named chip or model", replay),
    Peer("sched-sim", "0.2.1", "every step; its roofline of an H100 and an 8B model", schedulers),
    Peer("vllm-sr-sim", "0.1.0.dev20260713123629", "one event per request, no steps; its H100 and Llama 3.1 8B", queues),
)


def main(count: int = 4000) -> None:
    """Print the requests per second of everyone who is installed."""
    workload = Workload.load("azure-conv-2023", requests=count).at_rate(RATE)
    with TemporaryDirectory() as folder:
        starts = {}
        for peer in PEERS:
            try:
                starts[peer] = peer.prepare(workload, Path(folder))
            except (ImportError, AttributeError) as missing:  # not installed, or a version that names things otherwise
                print(f"left out: {missing} (pip install {peer.package}=={peer.tried})")
        if not starts:
            return
        print(f"simulated: {workload.summary()}")
        assay_seconds(workload.first(50))  # compiles, or reads what was compiled before
        rounds = [[assay_seconds(workload), *(timed(start(), workload) for start in starts.values())] for _ in range(RUNS)]
    told = {f"assay {__version__}": "every step, some in one leap; its operator model of llama-3.1-8b on h100-sxm"}
    told |= {f"{peer.package} {version(peer.package)}": peer.told for peer in starts}
    for (name, what), seconds in zip(told.items(), zip(*rounds, strict=True), strict=True):
        print(f"{name:36} {count / statistics.median(seconds):8.0f} requests/s   {what}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
