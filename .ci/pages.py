"""Write pages of the API: `python -W error .ci/pages.py DIRECTORY`, with the extra `docs`.

With `-W error` whatever pdoc warns of ends it.
"""

import sys
import warnings
from pathlib import Path
from pkgutil import iter_modules

import pdoc

import sim
import storage.datasets

# sim imports what it offers when it is asked for, and pdoc looks without asking.
vars(sim).update({name: getattr(sim, name) for name in sim.__all__})

# A TypedDict has no bases when it is made, so nobody can tell where keys are from that it inherits.
warnings.filterwarnings("ignore", r"Cannot determine where sim\.runs\.\w+\.\w+\.\w+ is taken from")

# Of a package that says what it offers pdoc shows nothing else.
rooms = [
    module.name
    for package in (storage.datasets, sim)
    for module in iter_modules(package.__path__, f"{package.__name__}.")
]
pdoc.pdoc("engine", "storage", "agents", "sim", *rooms, output_directory=Path(sys.argv[1]))
