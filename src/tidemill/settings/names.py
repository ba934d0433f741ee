"""How settings are called in the environment."""

PREFIX = "TIDEMILL_"


def variable_name(path: tuple[str, ...]) -> str:
    """``("database", "url")`` is ``TIDEMILL_DATABASE__URL``."""
    return PREFIX + "__".join(path).upper()
