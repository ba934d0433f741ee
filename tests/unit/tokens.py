"""Tokens of keys that exist nowhere."""

from tidemill.auth.keys import generate_token

TOKEN_OF_PRODUCTION = generate_token("production", "key_" + "0a" * 16)
TOKEN_OF_STAGING = generate_token("staging", "key_" + "0b" * 16)
