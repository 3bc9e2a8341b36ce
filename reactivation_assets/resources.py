"""Hands the outside world to the assets: one resource, the platform's doors as plain objects.

What to add here: nothing, as long as a new door is a member of `Platform`. Tests and the launcher hand in a platform of their own.
"""

from collections.abc import Iterator

import dagster as dg

from reactivation_resources.database.engine import migrate
from reactivation_resources.platform import Platform, open_platform
from reactivation_resources.settings import Settings

PlatformParam = dg.ResourceParam[Platform]


@dg.resource(description="the platform's doors, opened for a run and closed after it")
def platform_resource(_: dg.InitResourceContext) -> Iterator[Platform]:
    """The platform as the environment configures it."""
    settings = Settings.load()
    with open_platform(settings) as platform:
        if settings.database_url is None:
            migrate(
                platform.urls.database_url
            )  # our own server may be a minute old; a configured one is its keeper's affair
        yield platform
