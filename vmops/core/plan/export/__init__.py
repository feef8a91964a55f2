"""A VM in the words of another system."""
