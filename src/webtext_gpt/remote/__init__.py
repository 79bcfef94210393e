"""Data in object stores: `s3://`, `gs://`, `hf://` and the other kinds of address of fsspec.

Every reader works on files of this machine, and shards are memory-mapped. So remote files are
copied into a cache and checked before they are read (`mirror`), and a folder that a stage makes is
written here and uploaded when it is finished (`uploads`). Credentials come from the environment; an
address that holds them is refused, because settings and manifests record addresses.
"""
