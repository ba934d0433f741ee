"""Which backups are kept."""

from datetime import UTC, datetime, timedelta

from tidemill.backup.retention import moment_of, to_keep
from tidemill.settings.model import BackupSettings

_START = datetime(2026, 3, 2, 3, 0, tzinfo=UTC)  # a Monday


def _ids(count: int, every: timedelta) -> list[str]:
    return [f"{_START + index * every:%Y%m%dT%H%M%SZ}-{index:06x}" for index in range(count)]


def _kept(ids: list[str], last: int, days: int, weeks: int) -> list[str]:
    settings = BackupSettings(keep_last=last, keep_days=days, keep_weeks=weeks)
    return [f"{moment_of(each):%m-%d %H}" for each in sorted(to_keep(ids, settings))]


def test_the_newest_are_kept_whatever_their_day() -> None:
    assert _kept(_ids(30, timedelta(hours=1)), 3, 0, 0) == ["03-03 06", "03-03 07", "03-03 08"]


def test_the_last_one_of_each_day_is_kept() -> None:
    assert _kept(_ids(20, timedelta(hours=6)), 1, 3, 0) == ["03-04 21", "03-05 21", "03-06 21"]


def test_the_last_one_of_each_week_is_kept() -> None:
    ids = _ids(40, timedelta(days=1))
    assert _kept(ids, 1, 2, 3) == ["03-29 03", "04-05 03", "04-09 03", "04-10 03"]


def test_a_pause_does_not_use_up_what_is_kept() -> None:
    ids = _ids(3, timedelta(days=40))
    assert len(to_keep(ids, BackupSettings(keep_last=1, keep_days=3, keep_weeks=0))) == 3
