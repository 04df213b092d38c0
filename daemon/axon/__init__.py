"""The call protocol and the plugins' scores and weights in a running peer (AXON)."""
