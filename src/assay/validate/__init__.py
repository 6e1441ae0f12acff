"""The chain's error on measured operating points: each run predicted as it was run, beside two simple baselines."""
