"""What a step takes: ops timed on a chip and folded to a StepTime."""

from assay.cost.fold import fold as fold
