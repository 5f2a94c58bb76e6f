"""`cvfp plugin new`: a package that works, for someone to change into theirs."""
