"""Stand-ins on 127.0.0.1 for the object store and the hub of two pages' addresses."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.documented.inputs import Inputs
from tests.documented.texts import paragraphs
from tests.fake_hub import fake_hub
from tests.object_store import environment, s3_server


@contextmanager
def store_of(text: str, inputs: Inputs, folder: Path) -> Iterator[dict[str, str]]:
    """Serve what a command's addresses name; yield the variables by which it is found.

    Args:
        text: the command.
        inputs: the dump and the shards that the bucket holds.
        folder: for the server's log and the hub's cache.
    """
    if "s3://" in text:
        with s3_server(folder / "server.log") as port:
            found = environment(port, folder / "cache")
            _fill_bucket(port, inputs)
            yield {key: found[key] for key in found if key.startswith(("AWS", "WEBTEXT"))}
    elif "hf://" in text:
        files = {"a.txt": "\n\n".join(paragraphs("hub", 20)).encode()}
        with fake_hub(files) as address:
            yield {"HF_ENDPOINT": address, "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "0"}
    else:
        yield {}


def _fill_bucket(port: int, inputs: Inputs) -> None:
    import boto3

    client = boto3.client(
        "s3", endpoint_url=f"http://127.0.0.1:{port}", region_name="us-east-1",
        aws_access_key_id="a", aws_secret_access_key="b",
    )  # fmt: skip
    client.create_bucket(Bucket="bucket")
    dump, shards = inputs.path("RS_2013-01.zst"), inputs.path("corpus/shards")
    client.upload_file(str(dump), "bucket", f"dumps/{dump.name}")
    for path in shards.iterdir():
        client.upload_file(str(path), "bucket", f"corpus/shards/{path.name}")
