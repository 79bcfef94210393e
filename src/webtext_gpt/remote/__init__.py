"""Data in object stores: `s3://`, `gs://`, `hf://` and the other kinds of address of fsspec.

Every reader works on files of this machine, and shards are memory-mapped. So what an address names
is copied into a cache and checked before it is read (`mirror`), and a folder that a stage makes is
written here and sent when it is finished (`uploads`). Credentials come from the environment; an
address that holds them is refused, because settings and manifests record addresses.
"""
