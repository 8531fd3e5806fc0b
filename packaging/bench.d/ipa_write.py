"""Brings one image to one disk by IPA's code and prints the seconds: ipa_write.py stream|cache URL SHA512 DISK.

Only the write counts: a running agent has its modules imported.
"""
import os
import sys
import time

from ironic_python_agent import config  # noqa: F401  registers the options
from ironic_python_agent.extensions import standby
from oslo_config import cfg

way, url, digest, disk = sys.argv[1:5]
cfg.CONF([], project="ironic-python-agent")
image = {
    "id": "bench",
    "node_uuid": "bench",
    "urls": [url],
    "os_hash_algo": "sha512",
    "os_hash_value": digest,
    "disk_format": "raw" if way == "stream" else "qcow2",
    "container_format": "bare",
    "image_type": "whole-disk",
}
extension = standby.StandbyExtension(agent=None)
start = time.monotonic()
if way == "stream":
    extension.partition_uuids = {}
    extension._stream_raw_image_onto_device(image, disk)
else:
    extension.partition_uuids = None
    extension._cache_and_write_image(image, disk)
descriptor = os.open(disk, os.O_RDONLY)
os.fsync(descriptor)
print(f"{time.monotonic() - start:.3f}")
if way != "stream":
    os.unlink(standby._image_location(image))
