"""Until when the certificate of a TLS server is valid."""

import asyncio
import ssl
from contextlib import suppress
from datetime import datetime

from cryptography import x509

_TIMEOUT_SECONDS = 5


async def certificate_expiry(address: str) -> datetime:
    """When the certificate that ``address`` (``host:port``) shows expires, whether or not anybody trusts it.

    Raises OSError (TimeoutError and ssl.SSLError included) if the server does not answer, ValueError if its
    certificate cannot be read.
    """
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(_TIMEOUT_SECONDS):
        _, writer = await asyncio.open_connection(host, int(port), ssl=_any_certificate())
        try:
            found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    return x509.load_der_x509_certificate(found).not_valid_after_utc


def _any_certificate() -> ssl.SSLContext:
    """An expired or unknown certificate shall be looked at, not refused; nothing is sent over the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
