"""README is true: every command and every line of Python in it is run here."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.serving.server import Behaviour, Server

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
PIP = "pip install"
SECTIONS = [
    [line for line in section.splitlines() if line.startswith("billp ") and "serve" not in line]
    for section in re.split(r"^## ", README, flags=re.MULTILINE)
]
NAMES = ("gpt-4o-mini", "my-model", "embedded")


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The URL of a service that stands for all that README speaks to."""
    urls: list[str] = []
    ready, done = Event(), Event()

    async def serve() -> None:
        async with Server(EmbeddedModel(), Behaviour(), names=NAMES) as url:
            urls.append(url)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    ready.wait()
    yield urls[0]
    done.set()
    thread.join()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the files that README takes for granted."""
    place = tmp_path_factory.mktemp("readme")
    movielens = place / "ml-latest-small"
    movielens.mkdir()
    pairs = [(user, item) for user in range(30) for item in range(60) if (user * item) % 7 < 4]
    ratings = [f"{u},{i},{1 + (u * i) % 5},{u + i}" for u, i in pairs]
    films = [
        f"{item},Film {item} ({1950 + item}),{'Drama|War' if item % 2 else 'Comedy'}"
        for item in range(60)
    ]
    tables = {
        movielens / "ratings.csv": ["userId,movieId,rating,timestamp", *ratings],
        movielens / "movies.csv": ["movieId,title,genres", *films],
        place / "ratings.csv": ["who,what,stars", *(row.rpartition(",")[0] for row in ratings)],
    }
    for path, lines in tables.items():
        path.write_text("\n".join(lines) + "\n")
    for _, text in BLOCKS:
        if re.match(r"# \w+\.(py|toml)\n", text):
            (place / text.split()[1]).write_text(text)
    return place


def sh(command: str, place: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "OPENAI_API_KEY": "none"}
    return subprocess.run(
        command, shell=True, cwd=place, env=environment, capture_output=True, text=True, check=False
    )


def test_every_command_of_readme_works(place: Path, service: str) -> None:
    """In the order in which a reader would type them; sections do not need each other."""
    with ThreadPoolExecutor(2) as readers:
        list(readers.map(lambda commands: follow(commands, place, service), SECTIONS))


def follow(commands: list[str], place: Path, service: str) -> None:
    for written in commands:
        command = written
        if "openai/" in written:
            command = re.sub(r" --base-url \S+", "", written) + f" --base-url {service}"
        done = sh(command, place)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "Traceback" not in done.stderr


def test_the_service_of_readme_starts(place: Path) -> None:
    """It says where it is, and ends when it is told to."""
    command = next(line for line in COMMANDS if line.startswith("billp serve"))
    words = command.replace("--port 8000", "--port 0").split()
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / words[0]), *words[1:]],
        stdout=subprocess.PIPE,
        text=True,
        cwd=place,
    )
    assert process.stdout is not None
    assert "http://127.0.0.1:" in process.stdout.readline()
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 0


def test_the_python_of_readme_works(place: Path) -> None:
    """The ten-line metric is attached from Python as well."""
    code = next(text for kind, text in BLOCKS if kind == "python" and "Listeners(" in text)
    (place / "from_python.py").write_text(code)
    done = sh(f"{sys.executable} from_python.py", place)
    assert done.returncode == 0, done.stderr


def test_the_two_commands_stand_in_the_first_screen() -> None:
    """What sets everything up comes before anything else."""
    commands = [line for line in COMMANDS if line.startswith(PIP)]
    assert commands == [
        "pip install -e . && billp run",
        "pip install -e '.[test]' && pytest -n auto",
    ]
    assert all(command in README[:1_900] for command in commands)
