"""`python -m observability` writes the generated files below deploy/; with ``--check`` it only compares."""

import json
import sys
from pathlib import Path

import yaml

from observability import objectives
from observability.dashboards import DASHBOARDS

DEPLOY = Path(__file__).parents[1] / "deploy"
_RULES_HEAD = "# Written by `make dashboards` from observability/objectives.py; change that.\n"


def files() -> dict[Path, str]:
    """Every generated file with its content."""
    rules = _RULES_HEAD + yaml.safe_dump(objectives.rules(), sort_keys=False, width=1000)
    written = {DEPLOY / "prometheus" / "rules" / "objectives.yml": rules}
    for name, dashboard in DASHBOARDS.items():
        path = DEPLOY / "grafana" / "dashboards" / f"{name}.json"
        written[path] = json.dumps(dashboard.as_json(), indent=1, ensure_ascii=False) + "\n"
    return written


def main(arguments: list[str]) -> int:
    stale = {
        path: text for path, text in files().items() if not path.is_file() or path.read_text(encoding="utf-8") != text
    }
    if "--check" in arguments:
        sys.stderr.writelines(
            f"{path.relative_to(DEPLOY.parent)} is out of date: run make dashboards\n" for path in stale
        )
        return 1 if stale else 0
    for path, text in stale.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
