"""Small data sets with something to learn, as CSV."""

import numpy as np
import pandas as pd


def loans(rows: int = 600, seed: int = 0) -> bytes:
    """Two classes; numbers, text with gaps, a flag, a date."""
    rng = np.random.default_rng(seed)
    age = rng.integers(18, 80, rows)
    town = rng.choice(["ghent", "lille", "delft"], rows)
    income = rng.normal(50, 15, rows).round(2)
    odds = (age - 45) / 12 + (town == "lille") * 1.5 + (income - 50) / 20
    good = rng.random(rows) < 1 / (1 + np.exp(-odds))
    frame = pd.DataFrame(
        {
            "age": age,
            "town": np.where(rng.random(rows) < 0.05, None, town),
            "income": np.where(rng.random(rows) < 0.05, np.nan, income),
            "member": rng.random(rows) < 0.5,
            "joined": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 1000, rows), "D"),
            "good": np.where(good, "yes", "no"),
        }
    )
    return frame.to_csv(index=False).encode()
