"""The gateway over HTTP: REST API with OpenAPI, health, metrics, and the page."""
