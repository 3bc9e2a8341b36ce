"""The code location that Dagster loads."""

from reactivation_assets.build import build_defs

defs = build_defs()
