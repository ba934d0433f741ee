"""`python -m tidemill.api.openapi`: print the api's OpenAPI document, which docs/openapi.json holds."""

import json
import sys
from typing import Any

from tidemill.api.main import build
from tidemill.settings.model import ObjectStoreSettings, Settings


def document() -> dict[str, Any]:
    """The document as `/openapi.json` serves it. Opens no connection."""
    return build(Settings(object_store=ObjectStoreSettings(url="memory://"))).openapi()


def main() -> None:
    json.dump(document(), sys.stdout, indent=1, sort_keys=True, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
