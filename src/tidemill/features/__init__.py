"""One folder per noun: `endpoints` and `tasks` over `service` over `queries`. Features meet only at `service`."""
