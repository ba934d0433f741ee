"""The side of the api that model servers talk to: what to serve, to whom, and how it goes."""
