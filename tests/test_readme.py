"""README is true: every command and every line of Python in it is run here."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.models.embedded import EmbeddedModel
from agents.models.serving.server import Server
from tests.support.gguf import real_model
from tests.support.reading import Reader
from tests.support.served import served
from tests.support.shell import Shell

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for kind, text in BLOCKS if kind == "sh" for line in text.splitlines()]
PIP = "pip install"
SECTIONS = {
    section.splitlines()[0]: [
        line
        for line in section.splitlines()
        if line.startswith("billp ") and not line.startswith(("billp serve", "billp view"))
    ]
    for section in re.split(r"^##+ ", README, flags=re.MULTILINE)
}
LOCAL = "A real model on your machine"
NAMES = ("gpt-4o-mini", "my-model", "embedded")


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """The URL of a service that stands for all that README speaks to."""
    with served(Server(EmbeddedModel(), names=NAMES)) as there:
        yield there.url


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the files that README takes for granted."""
    place = tmp_path / "readme"
    place.mkdir()
    movielens = place / "ml-latest-small"
    movielens.mkdir()
    pairs = [(user, item) for user in range(30) for item in range(60) if (user * item) % 7 < 4]
    ratings = [f"{u},{i},{2 + 3 * ((u + i) % 2)},{u + i}" for u, i in pairs]  # tastes differ
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


@pytest.mark.parametrize(
    "section", [title for title, lines in SECTIONS.items() if lines and title != LOCAL]
)
def test_every_command_of_readme_works(
    section: str, place: Path, service: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the order in which a reader would type them; no section needs another one."""
    reader = Reader(place, Shell(capsys))
    for line in SECTIONS[section]:
        reader.types(to_service(line, service) if "openai/" in line else line)


@pytest.mark.slow
def test_every_command_with_a_model_of_this_machine_works(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The model is a real one, small as it is; how many threads compute leaves no mark."""
    real_model()
    reader = Reader(place, Shell(capsys))
    for line in SECTIONS[LOCAL]:
        reader.types(line + " --set local.threads=1" if "local/" in line else line)


def to_service(line: str, url: str) -> str:
    return re.sub(r" --base-url \S+", "", line) + f" --base-url {url}"


@pytest.mark.parametrize("service", ["serve", "view"])
def test_the_services_of_readme_start(place: Path, service: str) -> None:
    """They say where they are, and end when they are told to."""
    command = next(line for line in COMMANDS if line.startswith(f"billp {service}"))
    (place / "traces" / "runs").mkdir(parents=True)
    words = [*re.sub(r" --port \d+", "", command).split(), "--port", "0"]
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
    subprocess.run([sys.executable, "from_python.py"], cwd=place, check=True)


def test_the_two_commands_stand_in_the_first_screen() -> None:
    """What sets everything up comes before anything else."""
    commands = [line for line in COMMANDS if line.startswith(PIP)]
    assert commands[:2] == [
        "pip install -e . && billp run",
        "pip install -e '.[test]' && pytest -n auto",
    ]
    assert all(command in README[:1_900] for command in commands[:2])
