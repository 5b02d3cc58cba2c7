"""The processors of the PamFax API, one module each; `gateway.web.pamfax_api` is the door that calls them."""
