"""The words and the rules of the trade: pure values, no I/O, nothing to await."""
