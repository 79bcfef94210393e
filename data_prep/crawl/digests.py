"""Digests of archived records, by which altered ones are recognized."""

import base64
import hashlib

from data_prep.crawl.records import Record


def is_altered(record: Record, block: bytes, body: bytes) -> bool:
    """Return whether the block of a record, or else its payload, contradicts its digest.

    Writers disagree on whether a payload includes its codings, so either form may match. A record
    without a digest, or with one of an unknown kind, counts as not altered.
    """
    if digest := record.headers.get("warc-block-digest"):
        return not _matches(digest, [block])
    if digest := record.headers.get("warc-payload-digest"):
        payload = block.partition(b"\r\n\r\n")[2] if record.kind == "response" else block
        return not _matches(digest, [payload, body])
    return False


def _matches(digest: str, contents: list[bytes]) -> bool:
    """Return whether one of the contents has the digest, given in base 32 or hexadecimal."""
    name, _, value = digest.strip().partition(":")
    name = name.lower().replace("-", "")
    if name not in hashlib.algorithms_guaranteed or name.startswith("shake"):
        return True
    for content in contents:
        found = hashlib.new(name, content, usedforsecurity=False)
        if value.lower() in (found.hexdigest(), base64.b32encode(found.digest()).decode().lower()):
            return True
    return False
