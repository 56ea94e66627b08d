"""Loss functions of tensors: adversarial losses, penalties, discrepancies, with paper and equation. Pure functions."""
