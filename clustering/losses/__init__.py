"""What the networks are trained for, each loss by itself and without variables."""
