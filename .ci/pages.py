"""Write pages of the API: `python -W error .ci/pages.py DIRECTORY`, with the extra `docs`.

With `-W error` whatever pdoc warns of ends it.
"""

import sys
import warnings
from os import environ
from pathlib import Path
from pkgutil import iter_modules

import pdoc

import sim
import sim.gym
import storage.datasets

# sim imports what it offers when it is asked for, and pdoc looks without asking.
for package in (sim, sim.gym):
    vars(package).update({name: getattr(package, name) for name in package.__all__})

# What tianshou is made of asks the system for its processor.
environ["PDOC_ALLOW_EXEC"] = "1"

# A TypedDict has no bases when it is made, so nobody can tell where keys are from that it inherits.
warnings.filterwarnings("ignore", r"Cannot determine where sim\.runs\.\w+\.\w+\.\w+ is taken from")

# Of a package that says what it offers pdoc shows nothing else.
rooms = [
    module.name
    for package in (storage.datasets, sim)
    for module in iter_modules(package.__path__, f"{package.__name__}.")
]
pdoc.pdoc("engine", "storage", "agents", "sim", *rooms, output_directory=Path(sys.argv[1]))
