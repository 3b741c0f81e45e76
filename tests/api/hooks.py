"""What schemathesis needs to know of this API that the OpenAPI document cannot say."""

import os

import schemathesis


@schemathesis.serializer("application/toml")
def send_document(ctx, value):
    """A provider document is any text. What is no text, and so has to be refused, is not UTF-8.

    One that is to go live never passes: without the providers of the run little would be tested.
    """
    if not isinstance(value, str):
        return b"\xff"
    no_toml = "\n=" if ctx.case.method == "PUT" else ""
    return (value + no_toml).encode("utf-8", "surrogatepass")


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Keeps the key of the run from being revoked, after which nothing would be tested."""
    if case.method == "DELETE" and case.path_parameters.get("id") == os.environ["OWN_KEY_ID"]:
        case.path_parameters["id"] = "key_" + "0" * 32
