"""What .deploy says of images and clusters is whole, and of this version; none is built."""

import json
import re
import tomllib
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sim.config.layers import configured

jsonschema = pytest.importorskip("jsonschema", reason="needs the extra ray")
yaml = pytest.importorskip("yaml", reason="needs the extra ray")
parsing = pytest.importorskip("dockerfile_parse", reason="needs dockerfile-parse")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("ray") is None, reason="needs the extra ray"),
]

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / ".deploy"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
IMAGE = f"billp:{PROJECT['version']}"


@pytest.fixture
def dockerfile() -> list[dict[str, str]]:
    with (DEPLOY / "Dockerfile").open("rb") as file:
        found: list[dict[str, str]] = parsing.DockerfileParser(fileobj=file).structure
    return [one for one in found if one["instruction"] != "COMMENT"]


@pytest.fixture
def job() -> dict[str, Any]:
    found: list[dict[str, Any]] = [*yaml.safe_load_all((DEPLOY / "kuberay.yaml").read_text())]
    (one,) = [one for one in found if one["kind"] == "RayJob"]
    claims = [one["metadata"]["name"] for one in found if one["kind"] == "PersistentVolumeClaim"]
    (volume,) = one["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]["volumes"]
    assert [volume["persistentVolumeClaim"]["claimName"]] == claims
    return one


def test_the_image_is_slim_and_nobodys_root(dockerfile: list[dict[str, str]]) -> None:
    """Its Python is one that we support; whatever runs in it is a user without rights."""
    words = [(one["instruction"], one["value"]) for one in dockerfile]
    bases = [value.split()[0] for name, value in words if name == "FROM"]
    (base,) = {*bases}
    python = re.fullmatch(r"python:(3\.\d+)-slim", base)
    assert python
    assert f"Programming Language :: Python :: {python[1]}" in PROJECT["classifiers"]
    last = [name for name, _ in words].index("USER")
    assert words[last][1] == "1000"
    assert not [name for name, _ in words[last:] if name in {"RUN", "COPY", "ADD"}]


def test_the_image_has_what_the_wheel_is_made_of(dockerfile: list[dict[str, str]]) -> None:
    """And that wheel, with the extras that a cluster needs, and none of its name from elsewhere."""
    let = (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
    packages = {name.partition(".")[0] for name in ("engine", "storage", "agents", "sim")}
    needed = packages | {"billp.py", "pyproject.toml", PROJECT["readme"], *PROJECT["license-files"]}
    assert {line[1:] for line in let if line.startswith("!")} == needed
    installed = [one["value"] for one in dockerfile if "pip install" in one["value"]]
    wheel = f"billp-{PROJECT['version']}-py3-none-any.whl"
    assert f'"billp[fast,ray] @ file:///wheels/{wheel}"' in installed[0]
    assert {"fast", "ray"} <= PROJECT["optional-dependencies"].keys()


def test_all_of_it_has_one_ray(dockerfile: list[dict[str, str]], job: dict[str, Any]) -> None:
    """That which is locked: nodes of another would not be joined."""
    (argument,) = [one["value"] for one in dockerfile if one["instruction"] == "ARG"]
    locked = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))["package"]
    (ray,) = [one["version"] for one in locked if one["name"] == "ray"]
    assert argument == f"RAY={ray}"
    assert job["spec"]["rayClusterSpec"]["rayVersion"] == ray
    least = PROJECT["optional-dependencies"]["ray"][0].partition(">=")[2]
    assert ray.startswith(least)
    assert distribution("ray").version.startswith(least)


def test_the_cluster_of_rays_own_launcher_is_as_its_schema_says() -> None:
    """With the image of this version, and no CPU of the head for workers."""
    told = yaml.safe_load((DEPLOY / "ray-cluster.yaml").read_text())
    place = distribution("ray").locate_file("ray/autoscaler/ray-schema.json")
    schema = json.loads(Path(str(place)).read_text("utf-8"))
    jsonschema.validate(told, schema)
    assert told["docker"]["image"] == IMAGE
    assert len(told["provider"]["worker_ips"]) == told["max_workers"]
    assert "--head --port=6379 --num-cpus=0" in told["head_start_ray_commands"][-1]


def test_the_job_runs_what_billp_knows(job: dict[str, Any]) -> None:
    """On the image of this version, with as many CPUs for workers as it asks for."""
    cluster = job["spec"]["rayClusterSpec"]
    head, (group,) = cluster["headGroupSpec"], cluster["workerGroupSpecs"]
    for template in (head["template"], group["template"]):
        assert template["spec"]["securityContext"]["runAsNonRoot"]
        (container,) = template["spec"]["containers"]
        assert container["image"] == IMAGE
    (container,) = group["template"]["spec"]["containers"]
    words = job["spec"]["entrypoint"].split()
    told = {"cluster": words[words.index("--cluster") + 1]}
    told["workers"] = words[words.index("--workers") + 1]
    config = configured(told)
    assert config.workers == group["maxReplicas"] * int(container["resources"]["limits"]["cpu"])
    assert head["rayStartParams"] == {"num-cpus": "0"}
