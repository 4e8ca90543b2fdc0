"""The transactions of load `switching`, all in one table."""

import switching


def write(out):
    return switching.write(out, tables=1)
