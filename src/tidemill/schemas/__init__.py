"""What crosses the wire: pydantic models shared by the api, the model server and the SDK."""
