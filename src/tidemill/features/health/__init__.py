"""What `tidemill doctor` asks the api: how every part of the platform does, and what to do about it."""
