"""The Python SDK: `Tidemill`, a typed synchronous client of the REST API."""

from tidemill.client.tidemill import Tidemill

__all__ = ["Tidemill"]
