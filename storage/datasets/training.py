"""What the training users rated: all that a model of an agent's own may be fitted to."""

import numpy as np

from storage.datasets.fitting import Ratings
from storage.datasets.interactions import Interactions
from storage.datasets.rating import negatives, with_ratings
from storage.environments import Environment


def training_ratings(environment: Environment) -> Ratings:
    """Return the ratings of the training users; nothing of a test user is among them.

    Where none of them lies below the middle of the scale, nobody said what he disliked: then as
    many items that were passed by are added, as in the making of environments.
    """
    users, shape = environment.users, (len(environment.users), len(environment.catalog))
    owners = np.repeat(np.arange(len(users)), np.diff(users.offsets))
    rows = np.flatnonzero(~users.test[owners])
    rated = Ratings(owners[rows], users.items[rows].astype(np.int64), users.ratings[rows], shape)
    middle = (environment.head.rating_low + environment.head.rating_high) / 2
    if not len(rated) or rated.values.min() < middle:
        return rated
    met = Interactions(
        user_names=users.names,
        titles=environment.catalog.titles,
        categories=environment.catalog.categories,
        users=rated.users,
        items=rated.items,
        values=rated.values,
        scale="positive",
    )
    return with_ratings(rated, negatives(met, environment.head.seed))
