"""From plants to the fleet that is simulated, and what is said of it."""

from dataclasses import replace

import pytest

from assay._base.errors import InputError
from assay._base.schema import schema
from assay.chips import Chip
from assay.deployments import Asked, Deployment, Router, resolve
from assay.engines import Engine
from assay.models import Model
from assay.search.assembly import Assembly
from assay.search.plant import Plant, build
from assay.simulate import Outage
from assay.simulate.policies import BATCHING, DECODE, LEAST_LOADED, PREFILL, ROLES, ROUND_ROBIN, ROUTING

MODEL = Model.load("llama-3.3-70b")
SMALL = {"token_budget": 256, "max_num_seqs": 16}  # small tables: quick
KV_BYTES = 2 * 80 * 8 * 128 * 2  # per token: keys and values of 80 layers, 8 heads of 128, 2 bytes


def plant(chip: str = "h100-sxm", model: Model = MODEL, engine: str = "vllm", **asked: object) -> Plant:
    """A plant of a small scheduler."""
    return build(model, resolve(model, Chip.load(chip), Engine.load(engine), Asked(**{**SMALL, **asked})))


@pytest.fixture(scope="module")
def prefill() -> Plant:
    """Two replicas that compute prompts, of four chips."""
    return plant(role="prefill", replicas=2, tp=4)


@pytest.fixture(scope="module")
def decode() -> Plant:
    """Three replicas that decode, of eight chips."""
    return plant(role="decode", replicas=3, tp=8)


@pytest.mark.parametrize(("field", "codes"), [("routing", ROUTING), ("part[].role", ROLES), ("part[].batching", BATCHING)])
def test_files_may_say_what_the_simulator_knows(field: str, codes: dict[str, int]) -> None:
    """The words that a deployment file allows are those of the simulator's rules."""
    assert schema("deployment")[field].allowed == tuple(codes)


def test_one_part_is_one_pool() -> None:
    """Step times and policy of its plant, as many replicas as it has, in turn."""
    one = plant(tp=4, replicas=3)
    (pool,) = Assembly((one,)).fleet().pools
    assert (pool.times, pool.policy, pool.replicas, pool.role) == (one.times, one.policy, 3, ROLES["all"])
    assert Assembly((one,)).fleet().routing == ROUND_ROBIN
    assert Assembly((one,)).chips == 12
    assert Assembly((one,)).idle_watts == 3 * one.times.idle_watts


def test_parts_are_pools_of_their_roles(prefill: Plant, decode: Plant) -> None:
    """What decodes keeps no prefixes; chips and idle power are those of all."""
    assembly = Assembly((prefill, decode))
    first, second = assembly.fleet().pools
    assert (first.role, first.replicas, second.role, second.replicas) == (PREFILL, 2, DECODE, 3)
    assert (first.policy.prefix_cache, second.policy.prefix_cache) == (True, False)
    assert assembly.chips == 2 * 4 + 3 * 8
    assert assembly.idle_watts == pytest.approx(2 * prefill.times.idle_watts + 3 * decode.times.idle_watts)


def test_the_router_is_as_the_file_says(prefill: Plant, decode: Plant) -> None:
    """Rule, bound, outages; and the JSON form has them."""
    said = Router("least loaded", outages=((3.0, 1, False), (9.0, 1, True)))
    assembly = Assembly((prefill, decode), said)
    assert assembly.fleet().routing == LEAST_LOADED
    assert assembly.fleet().outages == (Outage(3.0, 1, False), Outage(9.0, 1, True))
    shown = assembly.to_dict()
    assert [part["role"] for part in shown["parts"]] == ["prefill", "decode"]
    assert (shown["routing"], len(shown["outage"])) == ("least loaded", 2)
    assert "routing: least loaded" in assembly.assumptions()
    bound = Assembly((plant(tp=4),), Router("prefix affinity", load_bound=2.5))
    assert (bound.fleet().load_bound, bound.to_dict()["load_bound"]) == (2.5, 2.5)


def test_ranks_are_served_as_their_engine_does() -> None:
    """Where nothing is said; replicas without attention ranks are served in turn."""
    assert Assembly((plant(tp=8, dp=8),)).routing == "least loaded"
    assert Assembly((plant(tp=8, dp=8, engine="sglang"),)).routing == "round robin"
    assert Assembly((plant(tp=8, dp=8),), Router("round robin")).routing == "round robin"
    assert Assembly((plant(tp=4, replicas=3),)).routing == "round robin"


def sent(decode: Plant, assembly: Assembly, tokens: int) -> float:
    """Seconds in which the cache of so many tokens goes over the link, as the simulator counts them."""
    fleet = assembly.fleet()
    return sum(each for _, each in decode.policy.kv_bytes) * tokens / fleet.link_bandwidth


@pytest.mark.parametrize(
    ("prompts", "tokens", "chips"),
    [
        ({"tp": 4}, {"tp": 8}, 4),
        ({"tp": 8}, {"tp": 4}, 4),
        ({"tp": 8}, {"tp": 4, "pp": 2}, 8),
        ({"tp": 8}, {"tp": 8, "dp": 2}, 4),
        ({"tp": 4, "pp": 2, "dp": 2}, {"tp": 8}, 4),
    ],
)
def test_a_cache_takes_its_bytes_over_the_slower_side(prompts: dict[str, int], tokens: dict[str, int], chips: int) -> None:
    """All bytes of a cache, at 50 GB/s of each chip of one rank, of whichever side has fewer; heads shared out, none held twice."""
    first, second = plant(role="prefill", **prompts), plant(role="decode", **tokens)
    assembly = Assembly((first, second))
    assert assembly.wire
    assert assembly.wire.bandwidth == pytest.approx(chips * 5e10)
    assert sent(second, assembly, 1000) == pytest.approx(1000 * KV_BYTES / (chips * 5e10))
    assert any(f"at {chips * 50} GB/s" in text and "InfiniBand" in text for text in assembly.assumptions())


def test_the_link_may_be_said(prefill: Plant, decode: Plant) -> None:
    """Bytes/s of whole caches, and seconds; what both are said to be is no assumption."""
    assembly = Assembly((prefill, decode), Router(link_bandwidth=1e9, link_latency=0.5))
    assert sent(decode, assembly, 1000) == pytest.approx(1000 * KV_BYTES / 1e9)
    assert assembly.fleet().link_latency == 0.5
    assert not any("caches go" in text for text in assembly.assumptions())
    half = Assembly((prefill, decode), Router(link_latency=0.5))
    assert half.fleet().link_bandwidth == Assembly((prefill, decode)).fleet().link_bandwidth
    assert half.to_dict()["link_latency"] == 0.5


def test_the_slower_chip_sets_the_link(decode: Plant) -> None:
    """Of unlike sides the slower one's widest link and its latency, a constant where its file gives none, and the time of handing over."""
    chip = decode.part.chip
    far = replace(chip.links[-1], bandwidth=replace(chip.links[-1].bandwidth, value=1e9), latency=None, name="far")
    slow = replace(decode.part, chip=replace(chip, name="slow", links=(*chip.links[:-1], far)), role="prefill")
    assembly = Assembly((replace(decode, part=slow), decode))
    assert assembly.wire
    assert assembly.wire.bandwidth == pytest.approx(8e9)
    constants = decode.machine.constants
    assert assembly.wire.latency == pytest.approx(constants.collective["hop"] + constants.host["transfer"], rel=0.01)
    assert "far of 8 chips, one rank of prefill on slow" in assembly.wire.source


def test_a_chip_without_a_link_needs_one_said(decode: Plant) -> None:
    """The message names the field of the file."""
    bare = replace(decode.part, chip=replace(decode.part.chip, name="bare", links=()), role="prefill")
    parts = (replace(decode, part=bare), decode)
    with pytest.raises(InputError, match="link_bandwidth: bare: has no"):
        Assembly(parts).fleet()
    assert Assembly(parts, Router(link_bandwidth=1e9, link_latency=0.0)).fleet().link_bandwidth == 1e9 / 8


def test_acceptance_is_that_of_what_decodes() -> None:
    """Speculation reaches the fleet: its width and its chance, of the part that decodes."""
    drafting = plant(tp=4, role="decode", speculate="3:0.7")
    fleet = Assembly((plant(tp=4, role="prefill"), drafting)).fleet()
    assert (fleet.width, fleet.acceptance) == (4, 0.7)
    assert Assembly((plant(tp=4),)).fleet().acceptance == 0


def test_policies_take_what_is_asked() -> None:
    """Batching and patience as asked; host memory in the policy's bytes, those of one chip of a stage."""
    plain = plant(tp=4)
    asked = plant(tp=4, batching="static", look_interval=7, prefill_wait=3, host_memory=4e11, host_bandwidth=1e11).policy
    assert (asked.batching, asked.look_interval, asked.prefill_wait) == (BATCHING["static"], 7, 3)
    share = sum(each for _, each in plain.policy.kv_bytes) / KV_BYTES
    assert asked.host_capacity == pytest.approx(4e11 * share)
    assert asked.host_bandwidth == pytest.approx(1e11 * share)
    assert (plain.policy.host_capacity, plain.policy.host_bandwidth) == (0.0, float("inf"))


def test_assumptions_name_the_part_they_hold_for() -> None:
    """What holds for all parts is said once, the rest with role and chip."""
    parts = (plant(role="prefill", tp=4, weights="fp8"), plant("mi300x", role="decode", tp=4, kv="bf16"))
    said = Assembly(parts).assumptions()
    assert sum("block_size" in text for text in said) == 1
    assert "prefill on h100-sxm: KV cache bf16: default of vllm 0.16" in said
    assert "decode on mi300x: weights bf16, as the checkpoint has them" in said
    assert not any("converted on their way" in text for text in said)
    narrow = Assembly((parts[0], plant("mi300x", role="decode", tp=4, kv="fp8")))
    assert "caches are converted on their way from prefill to decode, in no time" in narrow.assumptions()


def test_ranks_in_lock_step_are_said() -> None:
    """Attention ranks each have their own requests, and the router goes over all of them; one rank needs no router."""
    model = Model.load("deepseek-r1")
    said = Assembly((plant("h200-sxm", model, "sglang", tp=8, dp=8, ep=8),)).assumptions()
    assert "attention ranks run in lock step, each with its own requests" in said
    assert "routing: round robin over all attention ranks" in said
    assert not any("routing" in text for text in Assembly((plant(tp=4),)).assumptions())


def test_a_mixed_fleet_is_one_deployment() -> None:
    """Parts of role all go behind one router, without a link."""
    chips = [Chip.load(name) for name in ("h100-sxm", "mi300x")]
    deployment = Deployment(tuple((chip, Asked(tp=4, engine="vllm", **SMALL)) for chip in chips))
    assembly = Assembly(tuple(plant(chip.name, tp=4) for chip, _ in deployment.parts), deployment.router)
    assert [pool.role for pool in assembly.fleet().pools] == [ROLES["all"]] * 2
    assert assembly.wire is None
    assert "link_bandwidth" not in assembly.to_dict()
