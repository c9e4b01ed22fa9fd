"""The machinery around the recipes: it knows their shape, never their names."""
