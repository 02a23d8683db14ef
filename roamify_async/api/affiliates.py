"""The catalogues of affiliates."""

from typing import Final

from roamify_async._core.endpoint import Endpoint, Mode, Resource, resource
from roamify_async.models.affiliates import AffiliateDestination, ListAffiliatePackages


@resource
class Affiliates(Resource[Mode]):
    """The catalogues of affiliates."""

    packages: Final = Endpoint(
        "GET", "/api/esim/{uniqueName}/packages", ListAffiliatePackages, tuple[AffiliateDestination, ...],
        data_path="data.packages",
    )  # fmt: skip
    """Return the packages of an affiliate, grouped by destination."""
