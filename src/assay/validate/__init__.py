"""The chain's error on measured operating points: each run predicted as it was run, nothing fitted, beside two simple baselines."""
