"""Who asks: requests with arrival times and token counts, read from traces or drawn from descriptions."""

from assay.workloads.describe import describe
from assay.workloads.descriptions import write_description
from assay.workloads.distance import distance
from assay.workloads.workload import Workload

__all__ = ["Workload", "describe", "distance", "write_description"]
