"""The trigger ``benefit``: what a training may cost, and what a fresh model is predicted to save."""
