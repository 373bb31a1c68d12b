"""The command line: thin typed commands over library functions. Nothing heavy is imported before it is needed."""
