"""Images of two domains for translation: where both sides are, and how they are related."""
