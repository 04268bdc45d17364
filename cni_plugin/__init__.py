"""What the container runtime executes. Imports nothing of ours: a host has no Python packages."""
