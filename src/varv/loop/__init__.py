"""The loop: one declared model, watched, retrained, rolled out and rolled back, live or replayed over the
past.

`rules` decides, as a saga, and `handlers` do what it asks: `candidates` trains and `fits` says on which rows,
`benefit` weighs what a training would save, `leaking` looks for what a request cannot know. Rollouts and
monitors are sagas of their own, below.
"""
