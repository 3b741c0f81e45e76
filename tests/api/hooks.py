"""What schemathesis needs to know of this API that the OpenAPI document cannot say."""

import os

import schemathesis


@schemathesis.serializer("application/toml")
def send_document(ctx, value):
    """A provider document is any text. What is no text, and so has to be refused, is not UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass")
    return b"\xff"


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Keeps the key of the run from being revoked, after which nothing would be tested."""
    if case.method == "DELETE" and case.path_parameters.get("id") == os.environ["OWN_KEY_ID"]:
        case.path_parameters["id"] = "key_" + "0" * 32
