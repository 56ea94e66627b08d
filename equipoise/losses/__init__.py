"""Pure loss functions of tensors: adversarial losses, penalties, discrepancies. Each states its paper and equation."""
