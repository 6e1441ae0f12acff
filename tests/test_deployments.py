"""Deployments: layouts that cannot be are named, files are read, and every default is an assumption with a source."""

from dataclasses import fields, replace
from pathlib import Path

import pytest

from assay._base.errors import InputError
from assay._base.facts import Fact
from assay.chips import Chip
from assay.deployments import Asked, Deployment, Part, Router, Speculation, check_asked, check_layout, resolve
from assay.engines import Engine
from assay.models import Model


def resolved(model: str = "llama-3.1-8b", chip: str = "h100-sxm", engine: str = "generic", **asked: object) -> Part:
    """What is asked of a model on a chip, resolved."""
    return resolve(Model.load(model), Chip.load(chip), Engine.load(engine), Asked(**asked))


@pytest.mark.parametrize(
    ("model", "asked", "named"),
    [
        ("llama-3.1-8b", {"tp": 3}, "--tp: 3 does not divide the attention heads (32)"),
        ("llama-3.1-8b", {"tp": 64}, "--tp: 64 does not divide the attention heads (32)"),
        ("llama-3.1-8b", {"tp": 4, "dp": 3}, "--dp: 3 does not divide tp (4)"),
        ("llama-3.1-8b", {"tp": 2, "dp": 4}, "--dp: 4 does not divide tp (2)"),
        ("mixtral-8x7b", {"tp": 4, "ep": 3}, "--ep: 3 does not divide tp (4)"),
        ("mixtral-8x7b", {"tp": 16, "ep": 16}, "--ep: 16 ranks for 8 experts"),
        ("deepseek-r1", {"tp": 128, "ep": 1, "dp": 128, "pp": 1}, None),
        ("gpt-oss-120b", {"tp": 64, "ep": 1}, None),
        ("llama-3.1-8b", {"tp": 1, "pp": 33}, "--pp: 33 stages for 32 layers"),
        ("llama-3.1-8b", {"tp": -1}, "--tp: is -1"),
        ("llama-3.1-8b", {"tp": 0}, "--tp: is 0"),
        ("llama-3.1-8b", {"pp": 0}, "--pp: is 0"),
        ("llama-3.1-8b", {"replicas": 0}, "--replicas: is 0"),
        ("llama-3.1-8b", {"token_budget": 0}, "--token-budget: is 0"),
        ("llama-3.1-8b", {"max_num_seqs": 0}, "--max-num-seqs: is 0"),
        ("llama-3.1-8b", {"block_size": 0}, "--block-size: is 0"),
        ("llama-3.1-8b", {"kv_memory_fraction": 0.0}, "--kv-memory-fraction: is 0"),
        ("llama-3.1-8b", {"kv_memory_fraction": 1.5}, "--kv-memory-fraction: is 1.5"),
        ("llama-3.1-8b", {"weights": "fp7"}, "--weights: 'fp7' is not a known precision"),
        ("llama-3.1-8b", {"activations": "fp7"}, "--activations: 'fp7' is not a known precision"),
        ("llama-3.1-8b", {"kv": "fp7"}, "--kv: 'fp7' is not a known precision"),
        ("llama-3.1-8b", {"speculate": "three"}, "--speculate: is 'three'"),
        ("llama-3.1-8b", {"speculate": "3"}, "--speculate: is '3'"),
        ("llama-3.1-8b", {"speculate": "0:0.5"}, "--speculate: is '0:0.5'"),
        ("llama-3.1-8b", {"speculate": "17:0.5"}, "--speculate: is '17:0.5'"),
        ("llama-3.1-8b", {"speculate": "2.5:0.5"}, "--speculate: is '2.5:0.5'"),
        ("llama-3.1-8b", {"speculate": "3:1.1"}, "--speculate: is '3:1.1'"),
        ("llama-3.1-8b", {"speculate": "3:-0.1"}, "--speculate: is '3:-0.1'"),
        ("llama-3.1-8b", {"speculate": "3:nan"}, "--speculate: is '3:nan'"),
        ("llama-3.1-8b", {"speculate": "3:0.5:"}, "--speculate: is '3:0.5:'"),
        ("llama-3.1-8b", {"speculate": ""}, "--speculate: is ''"),
        ("llama-3.1-8b", {"batching": "later"}, "--batching: 'later' is not known"),
        ("llama-3.1-8b", {"look_interval": 0}, "--look-interval: is 0"),
        ("llama-3.1-8b", {"host_memory": 1e9}, "--host-bandwidth: is missing"),
        ("llama-3.1-8b", {"host_bandwidth": 1e9}, "--host-memory: is missing"),
        ("llama-3.1-8b", {"host_memory": 1e9, "host_bandwidth": 1e9, "prefix_cache": False}, "--host-memory: keeps prefix blocks, and"),
        ("llama-3.1-8b", {"host_memory": 1e9, "host_bandwidth": 1e9, "role": "decode"}, "--host-memory: keeps prefix blocks, and"),
        ("llama-3.1-8b", {"role": "decode", "prefix_cache": True}, "--prefix-cache: asked of a part that decodes alone"),
        ("llama-3.1-8b", {"role": "both"}, "--role: 'both' is not known"),
        ("llama-3.1-8b", {"speculate": "3:0.5:llama-9"}, "llama-9: no such entry in the catalogue of models"),
        (
            "deepseek-r1",
            {"tp": 128, "ep": 128, "dp": 2, "speculate": "3:0.5:llama-3.1-8b"},
            "--speculate: llama-3.1-8b: cannot run under --tp: 64 does not divide the attention heads (32)",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_named(model: str, asked: dict[str, object], named: str | None) -> None:
    """The message names the flag, what is wrong and what to give; a layout that can be passes."""
    if named is None:
        assert resolved(model, **asked).tp == asked["tp"]
        return
    with pytest.raises(InputError) as caught:
        resolved(model, **asked)
    assert str(caught.value).startswith(named)
    assert caught.value.remedy


def test_kv_heads_and_ranks_must_divide() -> None:
    """Ranks that neither divide the KV heads nor are a multiple of them are refused."""
    model = Model.load("qwen3-32b")  # 64 heads, 8 KV heads, FFN of 25,600
    shape = model.architecture
    group = replace(shape.layers[0], attention=replace(shape.layers[0].attention, heads=60, kv_heads=20))
    odd = replace(model, architecture=replace(shape, layers=(group,)))
    part = resolved("qwen3-32b")
    check_layout(odd, replace(part, tp=10))
    check_layout(odd, replace(part, tp=4))
    with pytest.raises(InputError, match=r"8 ranks and 20 KV heads|does not divide the attention heads"):
        check_layout(odd, replace(part, tp=8))
    with pytest.raises(InputError, match=r"12 ranks and 20 KV heads: neither divides the other"):
        check_layout(odd, replace(part, tp=12))


def test_expert_and_shared_widths_must_divide() -> None:
    """Experts split inside an expert-parallel group, and a shared expert over all ranks."""
    with pytest.raises(InputError, match="expert width"):
        resolved("gpt-oss-120b", tp=128, ep=1, dp=128)
    model = Model.load("deepseek-r1")
    experts = model.architecture.layers[-1]
    odd = replace(experts, ffn=replace(experts.ffn, shared_width=1000))
    changed = replace(model, architecture=replace(model.architecture, layers=(odd,)))
    with pytest.raises(InputError, match="shared expert width"):
        check_layout(changed, replace(resolved("deepseek-r1"), tp=16, ep=16))


def test_an_engine_that_does_not_run_there_is_refused() -> None:
    """The message names the chip, its family and where the engine runs."""
    with pytest.raises(InputError) as caught:
        resolved(chip="mi300x", engine="tensorrt-llm")
    assert "tensorrt-llm: does not run on mi300x (family cdna3)" in str(caught.value)
    assert "hopper" in caught.value.remedy
    assert resolved(chip="groq-lpu-v1", engine="generic").engine.name == "generic"


def test_attention_ranks_alone_give_the_width() -> None:
    """DP without TP asks for as many chips as ranks."""
    part = resolved("deepseek-r1", dp=8)
    assert (part.tp, part.dp, part.chips) == (8, 8, 8)
    assert resolved("deepseek-r1", tp=8, pp=2, dp=2).chips == 16


def test_what_is_not_asked_becomes_an_assumption() -> None:
    """Each default is named with its value, where it comes from and its source."""
    part = resolved(engine="vllm")
    said = "\n".join(part.assumptions)
    for key in ("max_num_seqs", "token_budget", "block_size", "kv_memory_fraction", "prefix_cache"):
        default = getattr(part.engine.defaults_on(part.chip.family), key)
        line = next(text for text in part.assumptions if text.startswith(key))
        assert getattr(part, key) == default.value
        assert str(default.value) in line
        assert default.source
        assert default.source in line
    assert "weights bf16, as the checkpoint has them" in said
    assert "activations bf16" in said
    assert "KV cache bf16: default of vllm" in said


def test_what_is_asked_is_no_assumption() -> None:
    """What the user says holds and is not listed; a conversion of weights is, since answers may change."""
    asked = {
        "weights": "fp8",
        "activations": "fp8",
        "kv": "fp8",
        "max_num_seqs": 7,
        "token_budget": 99,
        "block_size": 4,
        "kv_memory_fraction": 0.5,
        "prefix_cache": False,
        "batching": "static",
        "look_interval": 10,
        "prefill_wait": 5,
    }
    part = resolved(**asked)
    assert {key: part.to_dict()[key] for key in asked} == asked
    assert part.assumptions == ("weights converted from the checkpoint's bf16 to fp8, as asked; answers may change",)
    assert resolved(**{**asked, "weights": "bf16"}).assumptions == ()


def test_defaults_follow_the_chip_family() -> None:
    """An engine's overrides for a family hold on its chips."""
    assert resolved(chip="h100-sxm", engine="vllm").token_budget == 8192
    assert resolved(chip="a100-sxm-80gb", engine="vllm").token_budget == 2048


@pytest.mark.parametrize(
    ("chip", "weights", "activations", "rate"),
    [
        ("h100-sxm", "bf16", "bf16", "bf16"),
        ("h100-sxm", "fp8", "fp8", "fp8"),
        ("h100-sxm", "int4", "bf16", "bf16"),
        ("h100-sxm", "nvfp4", "bf16", "bf16"),
        ("b200-sxm", "nvfp4", "nvfp4", "fp4"),
        ("a100-sxm-80gb", "fp8", "bf16", "bf16"),
        ("groq-lpu-v1", "bf16", "fp16", "fp16"),
    ],
)
def test_arithmetic_runs_at_a_rate_the_chip_has(chip: str, weights: str, activations: str, rate: str) -> None:
    """Activations default to what the chip computes in, and the wider operand sets the rate."""
    part = resolved(chip=chip, weights=weights)
    assert (part.activations.name, part.rate()) == (activations, rate)
    assert part.rate() in part.chip.peak


def test_to_dict_is_plain() -> None:
    """The JSON form has names and numbers alone."""
    document = resolved(tp=2).to_dict()
    assert document["chip"] == "h100-sxm"
    assert document["role"] == "all"
    assert (document["tp"], document["weights"]) == (2, "bf16")
    assert document.pop("speculate") is None
    assert all(isinstance(value, str | int | float | bool) for value in document.values())


def test_speculation_by_heads() -> None:
    """Tokens and acceptance alone mean heads of the model itself; both are said."""
    part = resolved(speculate="3:0.7")
    assert part.speculation == Speculation(3, 0.7, None)
    assert (part.width, part.to_dict()["speculate"]) == (4, "3:0.7")
    assert part.assumptions[-2:] == ("acceptance 0.7 of each drafted token, as asked", "drafts by a layer like the model's last")
    assert (resolved().width, resolved().speculation) == (1, None)


def test_speculation_by_a_model(tmp_path: Path) -> None:
    """A draft model is a name of the catalogue or a config, and its name is shown."""
    part = resolved("llama-3.3-70b", tp=8, speculate="16:1:LLAMA-3.1-8B")
    assert part.speculation == Speculation(16, 1.0, Model.load("llama-3.1-8b"))
    assert part.to_dict()["speculate"] == "16:1:llama-3.1-8b"
    assert "drafts by llama-3.1-8b, weights bf16 as its checkpoint has them" in part.assumptions
    with pytest.raises(InputError, match=r"config\.json"):
        resolved(speculate=f"1:0:{tmp_path / 'config.json'}")


@pytest.mark.parametrize(("speculate", "tokens"), [("1:0", 1), ("3:0", 1), ("1:0.5", 1.5), ("3:0.5", 1.875), ("4:1", 5)])
def test_tokens_of_a_step(speculate: str, tokens: float) -> None:
    """(1 - a^w) / (1 - a) tokens of w - 1 drafts and one more, all w where every draft is accepted."""
    assert Speculation.parse(speculate).tokens_per_step == pytest.approx(tokens)


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_an_engine_that_cannot_disaggregate_refuses(role: str) -> None:
    """The engine's features decide; the message names the flag and the engine."""
    engine = Engine.load("generic")
    without = replace(engine, features={**engine.features, "disaggregation": Fact(False)})
    with pytest.raises(InputError, match="--disaggregate: generic: cannot serve prefill and decode apart"):
        resolve(Model.load("llama-3.1-8b"), Chip.load("h100-sxm"), without, Asked(role=role))


def test_what_decodes_alone_caches_no_prefixes() -> None:
    """Whatever the engine does by default, and without a word about that default."""
    part = resolved(engine="vllm", role="decode")
    assert (part.role, part.prefix_cache) == ("decode", False)
    assert not any("prefix_cache" in text for text in part.assumptions)
    assert resolved(engine="vllm", role="prefill").prefix_cache


def test_an_engines_way_of_batching_is_a_default() -> None:
    """What is asked holds, else the engine's; host memory is shown where there is some."""
    assert [resolved(engine=engine).batching for engine in ("vllm", "sglang")] == ["mixed", "first"]
    assert resolved(engine="sglang", batching="mixed").batching == "mixed"
    assert "host_memory" not in resolved().to_dict()
    assert resolved(engine="vllm", host_memory=1e12, host_bandwidth=1e11).to_dict()["host_bandwidth"] == 1e11


def test_an_engine_that_cannot_speculate_refuses() -> None:
    """The engine's features decide; the message names the flag and the engine."""
    engine = Engine.load("generic")
    without = replace(engine, features={**engine.features, "speculation": Fact(False)})
    with pytest.raises(InputError, match=r"--speculate: generic: cannot speculate"):
        resolve(Model.load("llama-3.1-8b"), Chip.load("h100-sxm"), without, Asked(speculate="3:0.7"))
    with pytest.raises(InputError, match="--speculate: is 'x'"):
        check_asked(Asked(speculate="x"))


def test_deployment_of_a_chip() -> None:
    """Keywords are what is asked, and the only part is at hand."""
    chip, asked = Deployment.of(Chip.load("h100-sxm"), tp=4, kv="fp8").one
    assert chip.name == "h100-sxm"
    assert asked == Asked(tp=4, kv="fp8")
    assert asked.parallelism_given
    assert not Asked(kv="fp8", replicas=2).parallelism_given


def test_prefill_and_decode_apart() -> None:
    """Alike but for role, number and the caching of prefixes."""
    chip = Chip.load("h100-sxm")
    memory = {"host_memory": 1e12, "host_bandwidth": 1e11}
    (_, first), (_, second) = Deployment.disaggregated(chip, 2, 3, tp=4, prefix_cache=True, **memory).parts
    assert first == Asked(role="prefill", replicas=2, tp=4, prefix_cache=True, **memory)
    assert second == Asked(role="decode", replicas=3, tp=4)
    with pytest.raises(InputError, match="--disaggregate: given together with --replicas"):
        Deployment.disaggregated(chip, 2, 3, replicas=2)


def test_one_part_is_asked_for() -> None:
    """Where a question is about one replica, several parts are refused."""
    with pytest.raises(InputError, match="2 parts"):
        _ = Deployment.disaggregated(Chip.load("h100-sxm"), 2, 3).one


ALL, PREFILL, DECODE = (f'[[part]]\nchip = "h100-sxm"\nrole = "{role}"\n' for role in ("all", "prefill", "decode"))


def test_parts_and_router_are_read(tmp_path: Path) -> None:
    """Several parts, each with its role and chip, what is said of the router, and what fails when."""
    text = 'routing = "prefix affinity"\nload_bound = 2\nlink_bandwidth = 1e11\n'
    text += f'[[outage]]\ntime = 5\nreplica = 1\nup = false\n{PREFILL}speculate = "3:0.7"\n{DECODE}speculate = "3:0.7"\nreplicas = 2\n'
    found = Deployment.read(written(tmp_path, text.replace("h100", "h200", 1)))
    assert [(chip.name, asked.role) for chip, asked in found.parts] == [("h200-sxm", "prefill"), ("h100-sxm", "decode")]
    assert found.router == Router("prefix affinity", 2, 1e11, None, ((5.0, 1, False),))
    mixed = Deployment.read(written(tmp_path, f"{ALL}{ALL.replace('h100-sxm', 'mi300x')}"))
    assert [chip.name for chip, _ in mixed.parts] == ["h100-sxm", "mi300x"]
    assert mixed.router == Router()


def test_a_part_that_computes_prompts_need_not_draft(tmp_path: Path) -> None:
    """What decodes says how many steps a request takes."""
    assert len(Deployment.read(written(tmp_path, f'{PREFILL}{DECODE}speculate = "3:0.7"')).parts) == 2


def written(folder: Path, text: str) -> Path:
    """A deployment file."""
    file = folder / "deployment.toml"
    file.write_text(text)
    return file


def test_a_file_is_read(tmp_path: Path) -> None:
    """Every field of a part comes through, and the chip may be named by the file or the caller."""
    values = {
        "role": "all",
        "engine": "vllm",
        "replicas": 2,
        "tp": 8,
        "pp": 2,
        "dp": 4,
        "ep": 8,
        "weights": "fp8",
        "activations": "fp8",
        "kv": "fp8",
        "max_num_seqs": 64,
        "token_budget": 1024,
        "block_size": 32,
        "kv_memory_fraction": 0.8,
        "prefix_cache": True,
        "host_memory": 1e12,
        "host_bandwidth": 1e11,
        "batching": "static",
        "look_interval": 10,
        "prefill_wait": 3,
        "speculate": "3:0.7",
    }
    assert set(values) == {field.name for field in fields(Asked)}
    rows = "\n".join(f"{key} = {str(value).lower() if isinstance(value, bool) else repr(value)}" for key, value in values.items())
    chip, asked = Deployment.read(written(tmp_path, f'[[part]]\nchip = "h200"\n{rows}')).one
    assert (chip.name, asked) == ("h200-sxm", Asked(**values))
    chip, asked = Deployment.read(written(tmp_path, "[[part]]\ntp = 4"), "mi300x").one
    assert (chip.name, asked) == ("mi300x", Asked(tp=4))


def test_a_chip_file_is_found_beside_the_deployment(tmp_path: Path) -> None:
    """A chip that is a file is sought in the folder of the deployment file."""
    (tmp_path / "mine.toml").write_bytes(Chip.load("h100-sxm").file.read_bytes())
    chip, _ = Deployment.read(written(tmp_path, '[[part]]\nchip = "mine.toml"')).one
    assert (chip.name, chip.file) == ("mine", tmp_path / "mine.toml")


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("", "part", "is missing"),
        ("part = 3", "part", "must be a list of tables"),
        ("part = []", "part", "is empty"),
        ('[[part]]\nchip = "h100-sxm"\n[[part]]', "part[1].chip", "is missing"),
        ("[[part]]\ntp = 2", "part[0].chip", "is missing"),
        ('[[part]]\nchip = "h100-sxm"\ntp = 0', "part[0].tp", "is 0, below 1"),
        ('[[part]]\nchip = "h100-sxm"\ntp = "two"', "part[0].tp", "must be integer"),
        ('[[part]]\nchip = "h100-sxm"\ntpp = 2', "part[0].tpp", "unknown field"),
        ('[[part]]\nchip = "h100-sxm"\nrole = "draft"', "part[0].role", "is not known"),
        ('[[part]]\nchip = "h100-sxm"\nspeculate = "3"', "part[0].speculate", "is '3'"),
        ('[[part]]\nchip = "h100-sxm"\nkv = "fp7"', "part[0].kv", "is not a known precision"),
        ('[[part]]\nchip = "h100-sxm"\nhost_memory = 1e9', "part[0].host_bandwidth", "is missing"),
        (f"{DECODE}prefix_cache = true\n{PREFILL}", "part[0].prefix_cache", "decodes alone"),
        (PREFILL, "part[0].role", "is prefill, and no part is decode"),
        (f"{DECODE}{DECODE}", "part[0].role", "is decode, and no part is prefill"),
        (f"{PREFILL}{ALL}", "part[1].role", "is all beside prefill or decode"),
        (f'{PREFILL}{DECODE}[[part]]\nchip = "h100-sxm"', "part[2].role", "is all beside prefill or decode"),
        (f'{ALL}speculate = "3:0.7"\n{ALL}', "part[1].speculate", "is missing where part[0] has 3:0.7"),
        (f'{ALL}speculate = "3:0.7"\n{ALL}speculate = "3:0.6"', "part[1].speculate", "is 3:0.6 where part[0] has 3:0.7"),
        (f'{PREFILL}speculate = "3:0.7"\n{DECODE}', "part[0].speculate", "is 3:0.7 where part[1] has none"),
        (f'routing = "at random"\n{ALL}', "routing", "is not known"),
        (f"load_bound = 2\n{ALL}", "load_bound", "given without routing"),
        (f'routing = "prefix affinity"\nload_bound = 0.9\n{ALL}', "load_bound", "below 1"),
        (f"link_bandwidth = 1e9\n{ALL}", "link_bandwidth", "no cache goes over a link"),
        (f"link_latency = 1e-6\n{ALL}", "link_latency", "no cache goes over a link"),
        (f"{ALL}[[outage]]\ntime = 1\nup = false", "outage[0].replica", "is missing"),
        (f"{ALL}replicas = 2\n[[outage]]\ntime = 1\nup = false\nreplica = 2", "outage[0].replica", "is 2 of 2 replicas"),
        ('[[part]]\nchip = "h100-sxm"\nkv_memory_fraction = 1.5', "part[0].kv_memory_fraction", "above 1"),
    ],
)
def test_a_file_that_is_wrong_is_named(tmp_path: Path, text: str, field: str, problem: str) -> None:
    """The message names the file and the field, and says what to do."""
    file = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        Deployment.read(file)
    assert (caught.value.file, caught.value.field) == (str(file), field)
    assert problem in caught.value.problem
    assert caught.value.remedy


def test_an_unknown_chip_of_a_file_is_named(tmp_path: Path) -> None:
    """A chip that is not in the catalogue is named with its nearest neighbours."""
    with pytest.raises(InputError, match="h100-smx"):
        Deployment.read(written(tmp_path, '[[part]]\nchip = "h100-smx"'))
