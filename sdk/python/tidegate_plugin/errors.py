"""What plugins throw."""


class PluginError(Exception):
    """For what is wrong outside of the plugin, in its config or in the data: the message alone is the error. Any other exception is shown
    with the plugin's file and line."""
