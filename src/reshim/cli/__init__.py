"""The door: one file a command, argument parsing and nothing else."""

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

COMMANDS = (
    "simulate",
    "index",
    "list",
    "train",
    "evaluate",
    "reconstruct",
    "import_weights",
    "study",
    "report",
    "serve",
    "doctor",
)
