#!/usr/bin/python3
"""Print the live stream of an RDO-Manager controller: metrics of all nodes, or its events.

Needs Debian's python3-zmq, python3-protobuf and protobuf-compiler. Make the keys with
`rdo stream key create NAME`; the server's public key is /etc/rdo/curve.pub on the controller.

    metrics_subscriber.py --endpoint tcp://192.0.2.1:5604 --server-key curve.pub \\
        --public-key reader.pub --secret-key reader.key --topic metric. --count 10
"""

import argparse
import datetime
import importlib
import pathlib
import subprocess
import sys
import tempfile

import zmq

SCHEMA = pathlib.Path(__file__).resolve().parents[2] / "Protocol" / "Messages"


def compile_schema(folder):
    """Make Python classes of telemetry.proto and import them."""
    with tempfile.TemporaryDirectory(prefix="rdo-schema-") as output:
        subprocess.run(
            ["protoc", f"--proto_path={folder}", f"--python_out={output}", "telemetry.proto"],
            check=True,
        )
        sys.path.insert(0, output)
        try:
            return importlib.import_module("telemetry_pb2")
        finally:
            sys.path.remove(output)


def read_key(path):
    """Read a key file: 40 characters of Z85."""
    key = pathlib.Path(path).read_bytes().strip()
    if len(key) != 40:
        sys.exit(f"cannot read the key {path}: it is not 40 characters of Z85")
    return key


def describe(schema, topic, payload):
    """One line for one message."""
    if topic.startswith("metric."):
        message = schema.StreamMetric.FromString(payload)
        sample = message.sample
        name = f"{sample.name}[{sample.instance}]" if sample.instance else sample.name
        return f"{clock(sample.time_nanoseconds)} {message.node_name or message.node} {name} {sample.value:g}"
    event = schema.StreamEvent.FromString(payload)
    change = f"{event.before or '-'} -> {event.after or '-'}"
    return f"{clock(event.time_nanoseconds)} {event.kind} {event.id} {change}: {event.cause}"


def clock(nanoseconds):
    """Time of day in UTC."""
    moment = datetime.datetime.fromtimestamp(nanoseconds / 1e9, datetime.timezone.utc)
    return moment.strftime("%H:%M:%S")


def main():
    parser = argparse.ArgumentParser(description="print the controller's live stream")
    parser.add_argument("--endpoint", default="tcp://192.0.2.1:5604")
    parser.add_argument("--server-key", required=True, help="file: the controller's public key")
    parser.add_argument("--public-key", required=True, help="file: the reader's public key")
    parser.add_argument("--secret-key", required=True, help="file: the reader's secret key")
    parser.add_argument("--topic", default="metric.", help="prefix: metric., metric.<node>., event.")
    parser.add_argument("--count", type=int, default=0, help="end after so many messages; 0: never")
    parser.add_argument("--schema", default=SCHEMA, help="folder of telemetry.proto")
    arguments = parser.parse_args()

    schema = compile_schema(arguments.schema)
    socket = zmq.Context().socket(zmq.SUB)
    socket.linger = 0
    socket.curve_serverkey = read_key(arguments.server_key)
    socket.curve_publickey = read_key(arguments.public_key)
    socket.curve_secretkey = read_key(arguments.secret_key)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 10_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 10_000)
    socket.connect(arguments.endpoint)
    socket.subscribe(arguments.topic.encode())

    seen = 0
    while arguments.count == 0 or seen < arguments.count:
        topic, payload = socket.recv_multipart()
        print(describe(schema, topic.decode(), payload), flush=True)
        seen += 1


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        pass
