"""Projects: what users declare, checked, loaded from files, and compiled into the plans that rooms work by.

`declaration` and `replay` are what a user writes; `project` is what one file or folder declares together;
`loading` runs the files; `plan` compiles a model.
"""

from varv.project.declaration import Model, Outcome
from varv.project.labelling import Labelling
from varv.project.loading import forget_project, load_project
from varv.project.observers import CloudEvents
from varv.project.plan import ModelPlan, datasets_of, plan_of, replay_digest
from varv.project.policies import DECLARED, REFERENCES, STANDARD, Policy, PolicySearch
from varv.project.price import money
from varv.project.project import Project, project_of
from varv.project.replay import Plant, Replay
from varv.project.requirement import Requirement
from varv.project.retention import Retention
from varv.project.retrain import Retrain
from varv.project.serving import Log, Serving, check, fallback
from varv.project.transforms import transform

__all__ = [
    "DECLARED",
    "REFERENCES",
    "STANDARD",
    "CloudEvents",
    "Labelling",
    "Log",
    "Model",
    "ModelPlan",
    "Outcome",
    "Plant",
    "Policy",
    "PolicySearch",
    "Project",
    "Replay",
    "Requirement",
    "Retention",
    "Retrain",
    "Serving",
    "check",
    "datasets_of",
    "fallback",
    "forget_project",
    "load_project",
    "money",
    "plan_of",
    "project_of",
    "replay_digest",
    "transform",
]
