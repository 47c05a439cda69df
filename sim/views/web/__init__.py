"""Pages of runs in a browser: of recorded ones, and of one that is under way.

A page is made on the server, of typed facts and a template, and brought to life by small modules of
our own; charts are Vega-Lite. `site` knows the pages, `gate` who may see them, `folder` which runs
there are, `page` what a page is. Nothing here executes anything of a run that is looked at.
"""
