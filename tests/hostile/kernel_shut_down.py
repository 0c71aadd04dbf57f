"""Asks its own kernel to shut down."""

get_ipython().kernel.do_shutdown(restart=True)
