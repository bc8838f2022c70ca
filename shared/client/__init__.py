"""The Python client: a pure core that decides what to say and checks what it is shown, and a shell.

`core` (keyring, session, strand, consent, viewer, accounts, frames) is sans-I/O: messages in, messages
and events out; times and randomness are arguments. `connection` is its socket, `keystore` its files,
`commands` the people's command line. It never logs a key, a citizen or a value.
"""
