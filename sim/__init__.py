"""Who answers, and the roof: users, environments, metrics, runs, views, the command line."""
