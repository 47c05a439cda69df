"""Access to models: the protocol, the services, and what stands between."""
