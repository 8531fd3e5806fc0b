#!/usr/bin/env python3
"""Runs commands of the unmodified `openstack` client one after another in one process.

Reads a JSON list of orders from standard input: `arguments`, and `until`, what a printed row must hold for
the command not to be repeated. Writes a JSON object: `commands`, the names of all `openstack baremetal`
commands, and `outcomes`, one per order: exit code, standard error, and what was printed as JSON, as rows
of texts. Starting the client anew for each command costs two seconds of one core.
"""
import contextlib
import importlib.metadata
import io
import json
import logging
import sys
import time

from openstackclient import shell

SECONDS_MAX = 20


def text(value):
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def rows(output):
    try:
        document = json.loads(output)
    except ValueError:
        return []
    if isinstance(document, dict):
        document = [document]
    return [{k: text(v) for k, v in row.items()} for row in document if isinstance(row, dict)]


def run(arguments):
    logging.getLogger("").handlers.clear()
    output, errors = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = shell.OpenStackShell().run(arguments)
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else 1
    return {"code": code or 0, "errors": errors.getvalue()[-4000:], "rows": rows(output.getvalue())}


def obey(order):
    deadline = time.monotonic() + SECONDS_MAX
    while True:
        outcome = run(order["arguments"])
        met = any(order["until"].items() <= row.items() for row in outcome["rows"])
        if met or not order["until"] or time.monotonic() > deadline:
            return outcome
        time.sleep(0.2)


def main():
    points = importlib.metadata.entry_points(group="openstack.baremetal.v1")
    names = sorted({point.name.replace("_", " ") for point in points})
    outcomes = [obey(order) for order in json.load(sys.stdin)]
    json.dump({"commands": names, "outcomes": outcomes}, sys.stdout)


main()
