"""The order in which films are best read: a film may be pulled forward, and none is ever put back."""
