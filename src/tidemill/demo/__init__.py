"""`tidemill demo`: the whole loop on real flights."""
