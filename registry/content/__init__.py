"""What can be done with content: one service a noun. Transactions and the order of writes are decided here."""
