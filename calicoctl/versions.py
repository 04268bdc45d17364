"""Which version this program is, as pyproject.toml says; asking the installed package would take 40 ms."""

CLIENT_VERSION = "v0.1.0"
