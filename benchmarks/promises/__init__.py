"""What varv promises, held against traffic as it is, simulated with the code that runs in production."""
