"""A service over the network that speaks the OpenAI protocol."""
