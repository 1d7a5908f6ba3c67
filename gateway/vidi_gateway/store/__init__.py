"""Where the gateway's state lives: the journal (the truth), the files, the site key."""
