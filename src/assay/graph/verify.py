"""A specification of lowered graphs that runs: raises GraphError on the first op or sum that is not as it must be."""

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from assay.deployments import Part
from assay.graph.op import Op
from assay.models import Model
from assay.models.mixers import Recurrence

KINDS = ("gather", "gemm", "experts", "attention", "recurrence", "vector", "collective")


class GraphError(AssertionError):
    """A lowered graph breaks one of its laws: an error of Assay, never of its user."""


def verify(model: Model, part: Part, ops: Iterable[Op]) -> None:
    """Check every law of a lowered graph.

    - Each op: a known kind; amounts finite and not negative; no collective in a group of one; shards x copies = ranks of a stage.
    - Parameters of all ops, over their shards and less declared replication = parameters of the model, class by class.
    - FLOPs of each projection on one token = 2 x its parameters.
    - Bytes of a tensor = parameters x width, scales included.
    - Each layer attends once within its reach; a sparse one's indexer once to the start.
    - FLOPs and state of all recurrences, over their shards = those of the model, and the states of convolutions less their copies.
    - What attends or carries a state is its attention rank's own; what is its own joins no more chips than those of an attention rank.
    - All this holds for a draft model too.
    """
    ops = tuple(ops)
    for op in ops:
        _verify_op(op, part)
    step = [op for op in ops if not op.passes]
    _verify_parameters(model, step)
    _verify_attention(model, step)
    _verify_recurrence(model, step)
    if part.speculation and part.speculation.draft:
        drafting = [replace(op, passes=0) for op in ops if op.passes]
        verify(part.speculation.draft, replace(part, speculation=None), drafting)


def _verify_op(op: Op, part: Part) -> None:
    _demand(op.kind in KINDS, op, f"unknown kind {op.kind}")
    amounts = (op.flops, op.weights, op.activation_bytes, op.bits, op.replicated, op.state_bytes)
    _demand(all(math.isfinite(amount) and amount >= 0 for amount in amounts), op, f"amounts {amounts}")
    _demand(op.count >= 1, op, f"count {op.count}")
    _demand(op.shards * op.copies == part.tp, op, f"{op.shards} shards x {op.copies} copies on {part.tp} ranks")
    _demand(op.exchange is None or op.exchange.group > 1, op, "a collective in a group of one")
    joined = max(op.shards, op.exchange.group if op.exchange else 1)
    _demand(op.own or not op.reach, op, "attends to tokens that are not its own")
    _demand(op.own or not op.state_bytes, op, "carries a state of tokens that are not its own")
    _demand(not op.own or joined <= part.tp // part.dp, op, f"{joined} chips share what one attention rank of {part.dp} has alone")
    _demand((op.kind == "collective") == (op.exchange is not None), op, "exchange and kind disagree")
    _demand(math.isclose(op.weight_bytes * 8, op.weights * op.bits), op, "bytes are not parameters x width")
    if op.kind == "gemm":
        _demand(math.isclose(op.flops, 2 * op.weights), op, f"{op.flops} FLOPs for {op.weights} parameters")
    if op.kind == "experts" and op.routing:
        touched = op.routing.active / op.routing.total
        _demand(math.isclose(op.flops, 2 * op.weights * touched, rel_tol=0.01), op, f"{op.flops} FLOPs for {op.weights} parameters")


def _verify_parameters(model: Model, ops: Iterable[Op]) -> None:
    found: dict[str, float] = {}
    for op in ops:
        if op.weights:
            found[op.tensor] = found.get(op.tensor, 0.0) + op.count * (op.weights * op.shards - op.replicated)
    expected = {kind: float(part.total) for kind, part in model.architecture.weights().items() if part.total}
    if found.keys() != expected.keys() or not all(math.isclose(found[kind], expected[kind], rel_tol=1e-9) for kind in expected):
        raise GraphError(f"{model.name}: parameters of the ops {found} are not those of the model {expected}")


def _verify_attention(model: Model, ops: Iterable[Op]) -> None:
    found, expected = Counter[int](), Counter[int]()
    for op in ops:
        if op.reach:
            found[op.reach.window] += op.count
    for group in model.architecture.layers:
        if group.attention:
            expected.update(dict.fromkeys(group.attention.reaches, group.count))
    if found != expected:
        raise GraphError(f"{model.name}: attention layers by reach {dict(found)} are not those of the model {dict(expected)}")


def _verify_recurrence(model: Model, ops: Iterable[Op]) -> None:
    found, expected = [0.0, 0.0], [0.0, 0.0]
    for op in ops:
        if op.kind == "recurrence":
            found[0] += op.count * op.flops * op.shards
        whole = op.shards - op.replicated / op.weights if op.weights else op.shards  # copies of a convolution keep copies of its state
        found[1] += op.count * op.state_bytes * whole
    for group in model.architecture.layers:
        if isinstance(group.attention, Recurrence):
            expected[0] += group.count * group.attention.heads * group.attention.flops
            expected[1] += group.count * group.attention.state_bytes
    if not all(math.isclose(one, other, rel_tol=1e-9) for one, other in zip(found, expected, strict=True)):
        raise GraphError(f"{model.name}: FLOPs and state of recurrences {found} are not those of the model {expected}")


def _demand(holds: bool, op: Op, problem: str) -> None:
    if not holds:
        raise GraphError(f"op {op.name}: {problem}")
