"""Who asks: requests with arrival times and token counts, read from traces or drawn from descriptions."""

from assay.workloads.columns import LONGEST
from assay.workloads.describe import describe, drawn
from assay.workloads.descriptions import write_description
from assay.workloads.distance import distance
from assay.workloads.picture import picture
from assay.workloads.readers import TRACES
from assay.workloads.workload import Workload

__all__ = ["LONGEST", "TRACES", "Workload", "describe", "distance", "drawn", "picture", "write_description"]
