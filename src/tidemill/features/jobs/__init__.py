"""Jobs over HTTP. What jobs are and do is in `tidemill.jobs`."""
