"""Windows of tables and of sound: columns, plans, decoding, ranges and streams."""
