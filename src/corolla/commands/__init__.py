"""The subcommands: each parses, calls its stage and prints what came out. torch is imported inside, where needed."""
