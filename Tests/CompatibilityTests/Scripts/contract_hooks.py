"""What schemathesis must know beyond the document: how a JSON Patch of Glance's own type is written."""
import json

import schemathesis


@schemathesis.serializer("application/openstack-images-v2.1-json-patch")
def patch(ctx, value):
    return json.dumps(value).encode()
