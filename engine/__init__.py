"""The kernel: messages, bus, scheduling of episodes, canonical order, chance, errors."""
