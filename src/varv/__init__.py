"""varv closes the loop of machine learning in production."""
