"""Object storage for tests: a directory that stands for it, a server of S3's protocol, deaths."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from sim.library.objects import pull, push
from storage.objects.services import Service

NOWHERE = "http://127.0.0.1:1"
"""Where nobody listens."""

_SERVER = """
import json, sys
import boto3
from moto.server import ThreadedMotoServer

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
how = {"endpoint_url": f"http://{host}:{port}", "region_name": "us-east-1",
       "aws_access_key_id": "any", "aws_secret_access_key": "any"}
boto3.client("s3", **how).create_bucket(Bucket="mine")
iam, keys = boto3.client("iam", **how), {}
for user, actions in json.loads(sys.argv[1]).items():
    iam.create_user(UserName=user)
    statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=policy)
    key = iam.create_access_key(UserName=user)["AccessKey"]
    keys[user] = [key["AccessKeyId"], key["SecretAccessKey"]]
print(json.dumps({"url": how["endpoint_url"], "keys": keys}), flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Bucket:
    """Where there is a bucket, called *mine*, and the keys of those who have some right to it."""

    url: str
    keys: Mapping[str, tuple[str, str]]

    def of(self, user: str) -> dict[str, str]:
        """Return the environment of a *user*."""
        key, secret = self.keys[user]
        return environment(self.url, key, secret)

    def guard(self) -> None:
        """Look at everybody's rights from now on."""
        header = {"Content-Type": "text/plain"}
        with urlopen(Request(f"{self.url}/moto-api/reset-auth", b"0", header, method="POST")):
            pass

    def objects(self) -> set[str]:
        """Return the keys of all objects, as they are listed to anybody."""
        with urlopen(f"{self.url}/mine?list-type=2") as listed:
            text = listed.read().decode()
        return {part.partition("</Key>")[0] for part in text.split("<Key>")[1:]}


def environment(url: str, key: str = "any", secret: str = "SECRETSECRET") -> dict[str, str]:
    """Return the environment of somebody who uses S3 at a *url*."""
    return {
        "AWS_ENDPOINT_URL": url,
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": key,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_METADATA_ENDPOINT": NOWHERE,  # what a cloud tells its machines is not asked for
    }


@contextmanager
def bucket(**rights: list[str]) -> Iterator[Bucket]:
    """Start a server of S3's protocol in a process of its own, with users who have *rights*."""
    words = [sys.executable, "-c", _SERVER, json.dumps(rights)]
    with subprocess.Popen(
        words,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            assert process.stdout is not None
            told = json.loads(process.stdout.readline())
            yield Bucket(told["url"], told["keys"])
        finally:
            process.kill()


def dying(work: Callable[[], object], count: int) -> None:
    """Do *work* until the *count*-th object is put or the *count*-th piece of one is read."""
    seen = 0

    def strike() -> None:
        nonlocal seen
        seen += 1
        if seen == count:
            os.kill(os.getpid(), signal.SIGKILL)

    put, piece = Service.put, Service.piece

    async def putting(service: Service, key: str, pieces: AsyncIterator[bytes], size: int) -> None:
        strike()
        await put(service, key, pieces, size)

    async def reading(service: Service, key: str, start: int, size: int) -> bytes:
        strike()
        return await piece(service, key, start, size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Service, "put", putting)
        patch.setattr(Service, "piece", reading)
        work()


def pushing(what: Path, address: str) -> None:
    """Push, for a process of its own."""
    push(what, address)


def pulling(address: str, directory: Path) -> None:
    """Pull, for a process of its own."""
    pull(address, directory)
