"""Write Tidegate plugins in Python: a class `Plugin` in plugin.py. README.md has an example."""

from . import log
from .batch import Batch
from .errors import PluginError
from .plan import Derivation, Plan
from .relation import Column, Relation
from .row import Row
from .vector import Buffers

__all__ = ["Batch", "Buffers", "Column", "Derivation", "Plan", "PluginError", "Relation", "Row", "log"]
