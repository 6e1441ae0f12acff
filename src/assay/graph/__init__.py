"""What a step computes: a model under a layout, as a short tuple of ops with exact FLOPs and bytes."""

from assay.graph.lower import lower as lower
from assay.graph.op import Op as Op
from assay.graph.verify import verify as verify
