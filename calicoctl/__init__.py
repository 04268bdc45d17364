"""The command line: one file a command, rendering pure, output as upstream's byte for byte."""
