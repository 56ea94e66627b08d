"""Pure functions of the tensors they need; paper and equation stand above each."""
