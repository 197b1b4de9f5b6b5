"""A policy in Python: names outside of one team's namespaces are denied."""

import json

import wit_world
from wit_world.imports import types

SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "additionalProperties": False,
    "required": ["namespace"],
    "properties": {"namespace": {"type": "string"}},
}


class WitWorld(wit_world.WitWorld):
    def describe(self):
        return types.Description("python-team", "1.0.0", json.dumps(SCHEMA))

    def validate_settings(self, settings):
        return None

    def decide(self, settings, request):
        allowed = "/ns/" + json.loads(settings)["namespace"] + "/"
        outside = [
            name
            for name in request.ceiling.names
            if name.startswith("URI:") and allowed not in name
        ]
        if outside:
            return types.Verdict_Deny(
                types.Denial("NOT_THE_TEAM", f"{outside[0]} is another team's", None, None)
            )
        return types.Verdict_Allow(types.Narrowing(3600, None, None))
