"""What users see when requests meet a scheduler: knows step times, columns and policies, and neither models nor chips."""

from assay.simulate.fleet import Fleet as Fleet
from assay.simulate.fleet import Outage as Outage
from assay.simulate.fleet import Pool as Pool
from assay.simulate.policies import Policy as Policy
from assay.simulate.records import Outcome as Outcome
from assay.simulate.run import run as run
