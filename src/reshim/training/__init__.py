"""Weights from measurements: objectives by name, each with any network by its interface."""

from reshim.training.joint import Joint, ReleasedJoint
from reshim.training.objectives import Adversarial, Jitter, Supervised
from reshim.training.ssdu import SSDU

OBJECTIVES = {
    "supervised": Supervised,
    "joint": Joint,
    "joint-released": ReleasedJoint,
    "ssdu": SSDU,
    "jitter": Jitter,
    "adversarial": Adversarial,
}
