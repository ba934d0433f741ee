"""`tidemill up`: every process of the platform on one machine, supervised, in one data directory."""
