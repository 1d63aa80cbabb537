"""Owns a server of S3 for the session, as fixtures: its file system, and a bucket for each test."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

#: No output of any program may hold it.
SECRET = "s3cr3t-of-aws"


@pytest.fixture(scope="session")
def s3() -> Iterator[Any]:
    """A server of S3, which the environment names, and its file system; each test has a bucket of its own."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    given = {
        "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    import s3fs

    try:
        yield s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
        server.stop()


@pytest.fixture
def bucket(s3: Any, request: pytest.FixtureRequest) -> str:
    """The name of a new bucket."""
    name = f"b{abs(hash(request.node.nodeid)):x}"
    s3.mkdir(name)
    return name
