"""What lasts: traces, journal, memory, vector index, catalog, data sets, run directories."""
