"""How a model is laid over chips: parts of like replicas, each with its parallelism, precisions and scheduling limits."""

from assay.deployments.asked import Asked as Asked
from assay.deployments.asked import check_asked as check_asked
from assay.deployments.deployment import Deployment as Deployment
from assay.deployments.deployment import Router as Router
from assay.deployments.part import Part as Part
from assay.deployments.part import check_layout as check_layout
from assay.deployments.part import resolve as resolve
from assay.deployments.speculation import Speculation as Speculation
