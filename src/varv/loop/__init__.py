"""The loop: one declared model, watched, retrained, rolled out and rolled back, live or replayed over the
past.

`declaration` is what a user writes. `rules` decides, as a saga; `handlers` do what it asks, with the parts
that `world` holds; `gates` judge a candidate. `replay` feeds a year of data through the same parts under a
virtual clock, and `comparison` holds several policies against each other. Rollouts and monitors are sagas of
their own, below.
"""
