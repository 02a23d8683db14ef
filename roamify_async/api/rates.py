"""Exchange rates."""

from typing import Final

from roamify_async._core.endpoint import Endpoint, Mode, Resource, resource
from roamify_async._serde.converter import JSON
from roamify_async.models.rates import GetRates, ListCurrencies


@resource
class Rates(Resource[Mode]):
    """Exchange rates."""

    currencies: Final = Endpoint("GET", "/api/currencies", ListCurrencies, JSON, data_path="")
    """Return the currencies for which there are exchange rates."""
    get: Final = Endpoint("GET", "/api/rates", GetRates, JSON, data_path="")
    """Return current or past rates."""
