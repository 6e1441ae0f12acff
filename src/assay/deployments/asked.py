"""What the user says of a part, before an engine's and a checkpoint's defaults fill the rest."""

from dataclasses import dataclass

from assay._base import schema
from assay._base.errors import InputError
from assay._base.precisions import precision
from assay.deployments.speculation import Speculation


@dataclass(frozen=True)
class Asked:
    """What the user says of a part; None is not said. Field by field as in data/schema/deployment.toml."""

    role: str | None = None
    engine: str | None = None
    replicas: int | None = None
    tp: int | None = None
    pp: int | None = None
    dp: int | None = None
    ep: int | None = None
    weights: str | None = None
    activations: str | None = None
    kv: str | None = None
    max_num_seqs: int | None = None
    token_budget: int | None = None
    block_size: int | None = None
    kv_memory_fraction: float | None = None
    prefix_cache: bool | None = None
    host_memory: float | None = None
    host_bandwidth: float | None = None
    batching: str | None = None
    look_interval: int | None = None
    prefill_wait: int | None = None
    speculate: str | None = None

    @property
    def parallelism_given(self) -> bool:
        """Whether any of tp, pp, dp and ep was said."""
        return any(value is not None for value in (self.tp, self.pp, self.dp, self.ep))

    @property
    def decodes(self) -> bool:
        """Whether the part gives tokens after the first."""
        return self.role != "prefill"


def check_asked(asked: Asked) -> None:
    """Raise InputError naming the flag when a value is wrong on any chip: unknown, out of range, or at odds with another."""
    for name, value in ((name, value) for name, value in vars(asked).items() if value is not None):
        try:
            schema.check({"part": [{name: value}]}, "deployment", "")
        except InputError as error:
            raise InputError(f"--{name.replace('_', '-')}", "", error.problem, error.remedy) from None
        if name in ("weights", "activations", "kv"):
            precision(value, f"--{name}")
    if asked.speculate is not None:
        Speculation.parse(asked.speculate)
    if asked.role == "decode" and asked.prefix_cache:
        raise InputError("--prefix-cache", "", "asked of a part that decodes alone", "Leave it out: prompts are computed elsewhere")
    for given, other in (("host_memory", "host_bandwidth"), ("host_bandwidth", "host_memory")):
        if getattr(asked, given) is not None and getattr(asked, other) is None:
            raise InputError(f"--{other.replace('_', '-')}", "", "is missing", f"Give it beside {given}, or leave both out")
