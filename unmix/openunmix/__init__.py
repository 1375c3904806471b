"""Read and write the files and flags of the original Open-Unmix, and X-UMX."""
