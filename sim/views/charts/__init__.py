"""Charts of what came of runs, as Vega-Lite: the same on a page, in a report and in a paper."""
