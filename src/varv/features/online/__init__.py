"""Features for whoever has no history in memory: what requests from some instant on can see of each entity,
packed into one value, in a store that other processes read too.

`materialising` fills it from datasets, `reading` answers from it, `stored` serves models from it. Stores
themselves are adapters (`ports`).
"""
