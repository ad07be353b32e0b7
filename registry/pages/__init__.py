"""Pages for people with a browser: read only, made on the server, without a script."""
