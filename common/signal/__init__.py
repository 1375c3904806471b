"""Short-time Fourier transform, masks, the order of estimates, metrics."""
