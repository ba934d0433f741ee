#!/bin/sh
# A renewed certificate is taken up without losing a request: look now and then, check, reload.
# Kept running beside Nginx; ends with the container.
set -eu

fingerprint() {
    cat "$TIDEMILL_EDGE_CERTIFICATE" "$TIDEMILL_EDGE_CERTIFICATE_KEY" 2>/dev/null | cksum
}

watch() {
    known=$(fingerprint)
    while sleep "$TIDEMILL_EDGE_CERTIFICATE_CHECK_SECONDS"; do
        found=$(fingerprint)
        # A pair that does not fit (half of it replaced) fails the check, and is looked at again next time.
        if [ "$found" != "$known" ] && nginx -t -q; then
            known=$found
            nginx -s reload
            echo "The certificate was renewed; configuration reloaded" >&2
        fi
    done
}

watch &
