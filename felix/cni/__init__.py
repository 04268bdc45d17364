"""The CNI socket: what the plugin on the host asks, and what it prints. What is done about it stands in felix.pods."""
