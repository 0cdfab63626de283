"""Buckets for the tests of storage."""

from pathlib import Path

from .photos import tree


def fill_bucket(system):
    """Makes "bucket" anew in a file system, with the pictures of photos/ and mask.png of the working directory."""
    if system.exists("bucket"):
        system.rm("bucket", recursive=True)
    system.mkdir("bucket")
    for name, data in tree("photos").items():
        system.pipe_file(f"bucket/photos/{name}", data)
    system.pipe_file("bucket/mask.png", Path("mask.png").read_bytes())
