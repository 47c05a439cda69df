"""The service that we offer: it speaks the OpenAI protocol."""
