"""Sessions whose prompts grow: each turn keeps of the prompt before it what it repeats, and adds to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from assay.workloads.arrays import Floats, Ints, Mask, starts_of
from assay.workloads.columns import Columns
from assay.workloads.lengths import Histogram, log_uniform, picked_in_rows, refuse_many

TURNS = 3
"""Purpose of a random stream, beside those of `arrivals`."""
BATCH = 64
"""Sessions of the first batch; each batch is twice the one before. A longer draw thus begins like a shorter one."""


@dataclass(frozen=True, eq=False)
class Sessions:
    """How turns follow one another; the length of a prompt decides how the session goes on.

    A session opens with a prompt from the bins of `lengths`, by the weights `first` float64[inputs]. After each turn, whose prompt is in
    stage s (`stages` int64[S] are the least lengths of each), it ends with probability `ends[s]`. Otherwise the next prompt repeats a share
    of the last one and adds tokens: a cell of `turns[s]`, float64[S, kept, new], of the bins between the edges `kept` (shares; the last
    bin, beyond the edges, is all of it) and `new` (tokens). It comes after a time from the bins of `think` (s), by `think_weights`.
    Answers follow the prompt by `lengths`. The first `common` tokens of all prompts are the same. Prefixes are in blocks of `block` tokens.
    """

    lengths: Histogram
    first: Floats
    stages: Ints
    ends: Floats
    kept: Floats
    new: Ints
    turns: NDArray[np.float64]
    think: Floats
    think_weights: Floats
    block: int
    common: int

    def draw(self, requests: int, seed: int) -> Columns:
        """Columns of the turns of one session after the other, the last one cut.

        First turns are at 0, later ones come after their think times, as if answers took none.
        """
        parts: list[_Batch] = []
        count = sessions = 0
        while count < requests:
            random = np.random.Generator(np.random.PCG64(np.random.SeedSequence((seed, TURNS, len(parts)))))
            parts.append(self._batch(BATCH << len(parts), requests, sessions, random))
            count += parts[-1].session.size
            sessions += BATCH << (len(parts) - 1)
        session, prompt, output, kept, think = (
            np.concatenate([getattr(part, name) for part in parts])[:requests] for name in ("session", "input", "output", "kept", "think")
        )
        opens = np.diff(session, prepend=-1) > 0
        prefix, offsets = self._ids(prompt, kept, opens)
        since = np.cumsum(think)
        return Columns(
            arrival=since - since[opens][np.cumsum(opens) - 1],
            input=prompt,
            output=output,
            session=session,
            think=think,
            prefix=prefix,
            prefix_offsets=offsets,
            prefix_block=self.block if prefix.size else 0,
        )

    def _batch(self, count: int, most: int, first: int, random: np.random.Generator) -> "_Batch":
        """All turns of `count` sessions, at most `most` each, numbered from `first`, in order of session and turn."""
        alive = np.arange(count)
        prompt = self.lengths.prompts(self.first, random.random((count, 2)))
        kept, think = np.minimum(prompt, self.common), np.zeros(count)
        steps: list[_Batch] = []
        for _ in range(most):
            steps.append(_Batch(alive + first, prompt, self.lengths.answers(prompt, random.random((alive.size, 2))), kept, think))
            stage = np.searchsorted(self.stages[1:], prompt, side="right")
            goes_on = random.random(alive.size) >= self.ends[stage]
            alive, prompt, stage = alive[goes_on], prompt[goes_on], stage[goes_on]
            if not alive.size:
                break
            prompt, kept = self._next(prompt, stage, random)
            think = self._think(random.random((alive.size, 2)))
        order = np.argsort(np.concatenate([step.session for step in steps]), kind="stable")
        return _Batch(*(np.concatenate([getattr(step, name) for step in steps])[order] for name in _Batch.__annotations__))

    def _next(self, prompt: Ints, stage: Ints, random: np.random.Generator) -> tuple[Ints, Ints]:
        """The next prompts, and how many tokens of the last ones they begin with."""
        chance = random.random((prompt.size, 3))
        cell = picked_in_rows(self.turns.reshape(self.stages.size, -1), stage, chance[:, 0])
        share, new = np.divmod(cell, self.new.size - 1)
        edges = np.append(self.kept, self.kept[-1])
        kept = np.floor(prompt * (edges[share] + (edges[share + 1] - edges[share]) * chance[:, 1])).astype(np.int64)
        kept = np.minimum(np.maximum(kept, self.common), prompt)
        longest = int(self.lengths.input_edges[-1]) - 1
        longer = np.clip(kept + log_uniform(self.new, new, chance[:, 2]), 1, longest)
        return longer, np.minimum(kept, longer)

    def _think(self, chance: Floats) -> Floats:
        bins = np.searchsorted(np.cumsum(self.think_weights)[:-1], chance[:, 0] * self.think_weights.sum(), side="right")
        low, high = self.think[bins], self.think[bins + 1]
        least = np.maximum(low, 1e-300)
        return np.asarray(np.where(low > 0, least * (high / least) ** chance[:, 1], high * chance[:, 1]), np.float64)

    def _ids(self, prompt: Ints, kept: Ints, opens: Mask) -> tuple[Ints, Ints]:
        """Prefix ids and offsets: whole blocks of what is kept are those of the turn before, or the common ones; the rest are new."""
        counts = prompt // self.block
        refuse_many("sessions.block", int(counts.sum()))
        same = np.minimum(kept // self.block, counts)
        offsets = starts_of(counts)
        common = self.common // self.block
        ids = np.empty(offsets[-1], np.int64)
        fresh = common + starts_of(counts - same)[:-1]
        for row, (at, begin, count, old) in enumerate(zip(offsets.tolist(), fresh.tolist(), counts.tolist(), same.tolist(), strict=False)):
            source = offsets[row - 1] if not opens[row] else 0
            ids[at : at + old] = np.arange(old) if opens[row] else ids[source : source + old]
            ids[at + old : at + count] = np.arange(begin, begin + count - old)
        return ids, offsets


@dataclass(frozen=True, eq=False)
class _Batch:
    """Turns: session, prompt and output tokens, tokens kept of the prompt before, seconds since its answer."""

    session: Ints
    input: Ints
    output: Ints
    kept: Ints
    think: Floats
